package io.pageflux.transport;

import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import io.pageflux.page.SlabPool;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.zip.CRC32C;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/**
 * Sends random bytes out of the slabs of a small pool, and knows how many of its buffers are out,
 * how often one was released twice, and what a receiver must have got.
 */
public final class SlabSource implements AutoCloseable {

  private final SlabPool pool;
  private final SplittableRandom random;
  private final AtomicInteger emitted = new AtomicInteger();
  private final AtomicInteger released = new AtomicInteger();
  private final AtomicLong requested = new AtomicLong();
  private final AtomicLong bytes = new AtomicLong();
  private final CRC32C crc = new CRC32C();

  /** A source with slabs of 256 KiB. */
  public SlabSource(int slabs, long seed) {
    this.pool = new SlabPool(slabs, BatchGeometry.DEFAULT);
    this.random = new SplittableRandom(seed);
  }

  /** Buffers of random sizes up to a limit, made on a thread of their own. */
  public Flux<TransportBuffer> buffers(int count, int maxBytes) {
    // One slab at a time is acquired: concatMap with prefetch 0 loses none when it is cancelled.
    return Flux.range(0, count)
        .concatMap(i -> pool.acquire().map(lease -> fill(lease, maxBytes)), 0)
        .subscribeOn(Schedulers.boundedElastic())
        .doOnRequest(n -> requested.accumulateAndGet(n, Math::addExact))
        .doOnDiscard(Lease.class, Lease::release);
  }

  private TransportBuffer fill(Lease lease, int maxBytes) {
    int length = random.nextInt(1, maxBytes + 1);
    ByteBuffer buffer = lease.buffer().duplicate().clear().limit(length);
    int i = 0;
    for (; i + 8 <= length; i += 8) {
      buffer.putLong(i, random.nextLong());
    }
    for (; i < length; i++) {
      buffer.put(i, (byte) random.nextInt());
    }
    crc.update(buffer.duplicate());
    bytes.addAndGet(length);
    emitted.incrementAndGet();
    return new TransportBuffer(
        buffer,
        () -> {
          released.incrementAndGet();
          lease.release();
        });
  }

  /** How many buffers the source has made. */
  public int emitted() {
    return emitted.get();
  }

  /** How many buffers were asked for. */
  public long requested() {
    return requested.get();
  }

  /** How many bytes the source has made. */
  public long bytes() {
    return bytes.get();
  }

  /** The checksum of all bytes the source has made. */
  public long crc() {
    return crc.getValue();
  }

  /**
   * Waits until all slabs are back: takes them all at once, which ends when the last is released.
   *
   * @throws IllegalStateException if that takes longer than it can
   */
  public void awaitAllReleased() {
    List<Lease> all = new ArrayList<>();
    try {
      for (int i = 0; i < pool.capacity(); i++) {
        Mono<Lease> next = pool.acquire();
        all.add(Objects.requireNonNull(next.block(Duration.ofSeconds(20))));
      }
    } catch (IllegalStateException e) {
      throw new AssertionError(
          "%d of %d buffers were never released"
              .formatted(emitted.get() - released.get(), emitted.get()),
          e);
    } finally {
      all.forEach(Lease::release);
    }
    if (pool.outstanding() != 0 || released.get() != emitted.get()) {
      throw new AssertionError(
          "%d made, %d released, %d slabs out"
              .formatted(emitted.get(), released.get(), pool.outstanding()));
    }
  }

  @Override
  public void close() {
    pool.close();
  }
}
