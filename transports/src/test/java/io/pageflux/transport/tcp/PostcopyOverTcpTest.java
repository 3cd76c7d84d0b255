package io.pageflux.transport.tcp;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.dirty.ReportedWrites;
import io.pageflux.memory.GuestMemory;
import io.pageflux.migration.Guest;
import io.pageflux.migration.IncomingMigration;
import io.pageflux.migration.IncomingSpec;
import io.pageflux.migration.MigrationEvent;
import io.pageflux.migration.MigrationInfo;
import io.pageflux.migration.OutgoingMigration;
import io.pageflux.migration.OutgoingPostcopySpec;
import io.pageflux.migration.OutgoingSpec;
import io.pageflux.postcopy.PostcopyMemory;
import io.pageflux.postcopy.PostcopyStatistics;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.core.publisher.Mono;

/** Post-copy over real sockets: a guest whose threads need pages while others are pushed. */
@Timeout(120)
@ExtendWith(LeakCheck.class)
class PostcopyOverTcpTest {

  private static final Duration LIMIT = Duration.ofSeconds(60);
  private static final long BYTES = 48 << 20;
  private static final int PAGE = 4096;

  /** Reads pages at random, checks them, and writes some of them as a whole. */
  private static final class ReadingGuest implements Guest {

    private final PostcopyMemory memory;
    private final long seed;
    private final List<Thread> threads = new ArrayList<>();
    private final boolean[] written = new boolean[(int) (BYTES / PAGE)];
    volatile @Nullable Throwable wrong;

    ReadingGuest(PostcopyMemory memory, long seed) {
      this.memory = memory;
      this.seed = seed;
    }

    @Override
    public Mono<Void> pause() {
      return Mono.empty();
    }

    @Override
    public Mono<Void> resume() {
      return Mono.fromRunnable(
          () -> {
            for (int i = 0; i < 3; i++) {
              int number = i;
              threads.add(
                  Thread.ofPlatform()
                      .daemon()
                      .start(
                          () -> {
                            try {
                              work(number);
                            } catch (RuntimeException | Error e) {
                              wrong = e;
                            }
                          }));
            }
          });
    }

    private void work(int number) {
      SplittableRandom random = new SplittableRandom(seed + number);
      byte[] bytes = new byte[PAGE];
      while (memory.absent() != null) {
        int page = random.nextInt((int) (BYTES / PAGE) / 3) * 3 + number;
        if (random.nextInt(8) == 0) {
          java.util.Arrays.fill(bytes, (byte) 0x55);
          memory.write(0, (long) page * PAGE, MemorySegment.ofArray(bytes));
          written[page] = true;
        } else {
          memory.read(0, (long) page * PAGE, MemorySegment.ofArray(bytes));
          check(page, bytes);
        }
      }
    }

    private void check(int page, byte[] bytes) {
      for (int i = 0; i < PAGE; i += 512) {
        byte expected = written[page] ? 0x55 : contents(page, i);
        if (bytes[i] != expected) {
          throw new AssertionError(
              "seed %d: page %d has %d at %d, not %d".formatted(seed, page, bytes[i], i, expected));
        }
      }
    }

    void verify() throws InterruptedException {
      for (Thread thread : threads) {
        thread.join();
      }
      Throwable found = wrong;
      if (found != null) {
        throw new AssertionError("the guest has come upon wrong memory", found);
      }
      MemorySegment ram = memory.memory().block(0).segment();
      for (int page = 0; page < BYTES / PAGE; page++) {
        check(page, ram.asSlice((long) page * PAGE, PAGE).toArray(ValueLayout.JAVA_BYTE));
      }
    }
  }

  /** Every eighth page is zero. */
  private static byte contents(int page, int at) {
    return page % 8 == 7 ? 0 : (byte) (page * 31 + at / 512 + 1);
  }

  private static void fill(GuestMemory memory) {
    MemorySegment ram = memory.block(0).segment();
    for (int page = 0; page < BYTES / PAGE; page++) {
      for (int i = 0; i < PAGE; i += 512) {
        ram.asSlice((long) page * PAGE + i, 512).fill(contents(page, i));
      }
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void everyPageIsWhatItHasToBe(boolean compressed) throws InterruptedException {
    long seed = System.nanoTime();
    TcpAcceptor acceptor =
        Objects.requireNonNull(TcpTransport.listen(TcpSpec.loopback(0)).block(LIMIT));
    try (GuestMemory source = GuestMemory.builder().anonymous("ram", BYTES).build();
        GuestMemory destination = GuestMemory.builder().anonymous("ram", BYTES).build()) {
      fill(source);
      destination.block(0).segment().fill((byte) 0x77); // what nobody must see
      PostcopyMemory absentBy = PostcopyMemory.of(destination);
      ReadingGuest guest = new ReadingGuest(absentBy, seed);
      OutgoingSpec spec =
          OutgoingSpec.of(
                  source,
                  Guest.passive(),
                  TcpTransport.connector(TcpSpec.loopback(acceptor.port())))
              .withTracker(ReportedWrites::new)
              .withPostcopy(OutgoingPostcopySpec.DEFAULT);
      OutgoingMigration out =
          OutgoingMigration.of(compressed ? spec : spec.withCompression(null).withXbzrle(null));
      Mono<MigrationInfo> outgoing =
          out.events()
              .doOnNext(
                  event -> {
                    if (event instanceof MigrationEvent.RoundStarted) {
                      out.startPostcopy().subscribe();
                    }
                  })
              .ofType(MigrationEvent.Completed.class)
              .map(MigrationEvent.Completed::info)
              .single();
      Mono<MigrationInfo> incoming =
          IncomingMigration.of(IncomingSpec.of(destination, guest, acceptor).withPostcopy(absentBy))
              .run();
      MigrationInfo had = Objects.requireNonNull(Mono.zip(outgoing, incoming).block(LIMIT)).getT2();
      guest.verify();
      PostcopyStatistics postcopy = Objects.requireNonNull(had.postcopy());
      assertThat(postcopy.requests()).as("seed %d", seed).isPositive();
      assertThat(postcopy.latency().median()).isPositive();
      assertThat(postcopy.demandedPages() + postcopy.pushedPages())
          .as("seed %d", seed)
          .isEqualTo(postcopy.absentPages());
    } finally {
      acceptor.dispose();
    }
  }
}
