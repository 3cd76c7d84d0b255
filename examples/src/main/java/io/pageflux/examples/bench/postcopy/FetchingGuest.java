package io.pageflux.examples.bench.postcopy;

import io.pageflux.memory.RamBlock;
import io.pageflux.migration.Guest;
import io.pageflux.postcopy.AbsentPages;
import io.pageflux.postcopy.PostcopyMemory;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;

/**
 * A guest of one thread that needs one absent page after the other, at random, and notes how long
 * each takes.
 */
final class FetchingGuest implements Guest {

  private final PostcopyMemory memory;
  private final long[] nanos;
  private final long seed;
  private final boolean beforeItRuns;
  private volatile int fetched;
  private volatile @Nullable Throwable failure;
  private final Thread thread = Thread.ofPlatform().name("guest").daemon().unstarted(this::work);

  /**
   * @param most how many pages it needs at the most
   * @param beforeItRuns whether it needs them before it says that it runs, and so before others are
   *     pushed
   */
  FetchingGuest(PostcopyMemory memory, int most, boolean beforeItRuns, long seed) {
    this.memory = memory;
    this.nanos = new long[most];
    this.beforeItRuns = beforeItRuns;
    this.seed = seed;
  }

  private void work() {
    try {
      fetchAtRandom();
    } catch (RuntimeException | Error e) {
      failure = e;
    }
  }

  private void fetchAtRandom() {
    RamBlock block = memory.memory().block(0);
    SplittableRandom random = new SplittableRandom(seed);
    int n = 0;
    while (n < nanos.length) {
      AbsentPages absent = memory.absent();
      if (absent == null || absent.missing() == 0) {
        return;
      }
      long page = random.nextLong(block.pageCount());
      if (!absent.isPresent(0, page)) {
        long before = System.nanoTime();
        memory.require(0, block.pageOffset(page), 1);
        nanos[n++] = System.nanoTime() - before;
        fetched = n;
      }
    }
  }

  @Override
  public Mono<Void> pause() {
    return Mono.empty();
  }

  @Override
  public Mono<Void> resume() {
    return Mono.fromCallable(
            () -> {
              thread.start();
              if (beforeItRuns) {
                thread.join();
              }
              return true;
            })
        .then();
  }

  /** {@return how long each page took, when the guest has ended} */
  long[] nanos() throws InterruptedException {
    thread.join();
    Throwable failed = failure;
    if (failed != null) {
      throw new IllegalStateException("the guest failed: " + failed, failed);
    }
    return Arrays.copyOf(nanos, fetched);
  }
}
