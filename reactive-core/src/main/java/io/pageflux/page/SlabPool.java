package io.pageflux.page;

import io.pageflux.internal.Linux;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashSet;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import reactor.core.CoreSubscriber;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;

/**
 * A fixed number of equal slabs of direct memory: the memory bound of a pipeline.
 *
 * <p>A batch of pages occupies one slab from the scanner until the transport has written it. When
 * all slabs are out, nobody scans: so the pool is what carries the destination's backpressure back
 * to the scanner, and its size is what a stalled destination costs.
 *
 * <p><b>Memory bound:</b> {@code slabs * slabBytes}, allocated at once.
 *
 * <p>Methods may be called from any thread.
 */
public final class SlabPool implements AutoCloseable {

  record Slab(MemorySegment segment, ByteBuffer buffer) {}

  private final BatchGeometry geometry;
  private final int slabs;
  private final Arena arena = Arena.ofShared();

  // All below is guarded by this pool's monitor.
  // A stack: the slab that was released last is still in the processor's cache.
  private final ArrayDeque<Slab> free;
  private final ArrayDeque<Waiter> waiters = new ArrayDeque<>();
  private final Set<Lease> outstanding = Collections.newSetFromMap(new IdentityHashMap<>());
  private final Set<Runnable> idleListeners = new LinkedHashSet<>();
  private boolean closed;

  /**
   * Allocates the slabs.
   *
   * @param slabs how many, at least 1
   * @param geometry what batch a slab must hold
   */
  public SlabPool(int slabs, BatchGeometry geometry) {
    this(slabs, geometry, (arena, index) -> arena.allocate(geometry.slabBytes(), 4096));
  }

  /**
   * {@return a pool whose slabs are one mapping} It does not count against {@code
   * MaxDirectMemorySize}, and all of it has been written once: whoever fills a slab waits for no
   * page fault.
   *
   * @param slabs how many, at least 1
   * @param geometry what batch a slab must hold
   */
  public static SlabPool mapped(int slabs, BatchGeometry geometry) {
    long slabBytes = geometry.slabBytes();
    return new SlabPool(
        slabs,
        geometry,
        new SlabMaker() {
          private @Nullable MemorySegment mapping;

          @Override
          public MemorySegment make(Arena arena, int index) {
            MemorySegment all = mapping;
            if (all == null) {
              all = Linux.mapAnonymous(slabs * slabBytes, arena);
              mapping = all;
            }
            return all.asSlice(index * slabBytes, slabBytes).fill((byte) 0);
          }
        });
  }

  @FunctionalInterface
  private interface SlabMaker {
    MemorySegment make(Arena arena, int index);
  }

  private SlabPool(int slabs, BatchGeometry geometry, SlabMaker maker) {
    if (slabs < 1) {
      throw new IllegalArgumentException("slabs > 0 required but it was " + slabs);
    }
    this.geometry = geometry;
    this.slabs = slabs;
    this.free = new ArrayDeque<>(slabs);
    try {
      for (int i = 0; i < slabs; i++) {
        MemorySegment segment = maker.make(arena, i);
        free.add(new Slab(segment, segment.asByteBuffer()));
      }
    } catch (RuntimeException | Error e) {
      arena.close(); // Nobody else could: more slabs were asked for than memory is allowed.
      throw e;
    }
  }

  /** {@return the shape of a batch that fits a slab} */
  public BatchGeometry geometry() {
    return geometry;
  }

  /** {@return the number of slabs} */
  public int capacity() {
    return slabs;
  }

  /** {@return the bytes of direct memory that this pool holds} */
  public long bytes() {
    return (long) slabs * geometry.slabBytes();
  }

  /** {@return the number of slabs that are leased now} */
  public synchronized int outstanding() {
    return outstanding.size();
  }

  /** Leases a slab if one is free. {@return the lease, or null} */
  public synchronized @Nullable Lease tryAcquire() {
    requireOpen();
    Slab slab = free.poll();
    return slab == null ? null : lease(slab);
  }

  private Lease lease(Slab slab) {
    Lease lease = new Lease(this, slab);
    outstanding.add(lease);
    return lease;
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException("the slab pool is closed");
    }
  }

  /**
   * Leases a slab as soon as one is free.
   *
   * <p><b>Ordering and threading:</b> whoever subscribed first is served first; on the subscribing
   * thread if a slab is free, else on the thread that releases one.
   *
   * <p><b>Discard and cancel:</b> a subscriber that cancels before it was served takes no slab. A
   * cancel that comes while it is being served is too late: the lease arrives by {@code onNext},
   * and is the subscriber's to release. Operators hand it to the discard hook then; {@code
   * subscribe} with a lambda loses it, so cancel no such subscription.
   *
   * <p><b>Errors:</b> {@code IllegalStateException} when the pool is or gets closed.
   */
  public Mono<Lease> acquire() {
    return new Acquisition(null);
  }

  /**
   * Leases a slab as soon as one is free, for somebody on another thread: who gives a slab back is
   * not to do the work of who gets it.
   *
   * <p>As {@link #acquire()}, but for the thread; and a lease that is on its way to the thread when
   * the subscriber cancels is given back. {@code publishOn} (Reactor 3.8) would lose it.
   */
  public Mono<Lease> acquireOn(Scheduler scheduler) {
    return new Acquisition(scheduler);
  }

  private final class Acquisition extends Mono<Lease> {
    private final @Nullable Scheduler scheduler;

    Acquisition(@Nullable Scheduler scheduler) {
      this.scheduler = scheduler;
    }

    @Override
    public void subscribe(CoreSubscriber<? super Lease> actual) {
      actual.onSubscribe(new Waiter(SlabPool.this, actual, scheduler));
    }
  }

  void await(Waiter waiter) {
    Lease lease = null;
    boolean refused;
    synchronized (this) {
      refused = closed;
      if (!refused) {
        Slab slab = free.poll();
        if (slab == null) {
          // A cancel that came first found no waiter to forget.
          if (!waiter.hasEnded()) {
            waiters.add(waiter);
          }
        } else {
          lease = lease(slab);
        }
      }
    }
    if (refused) {
      waiter.refuse();
    } else if (lease != null && !waiter.grant(lease)) {
      lease.release();
    }
  }

  synchronized void forget(Waiter waiter) {
    waiters.remove(waiter);
  }

  void giveBack(Lease lease, Slab slab) {
    // Others are called outside the monitor: what they do is not ours to hold up.
    Runnable closing = () -> {};
    while (true) {
      Waiter waiter;
      Lease next;
      synchronized (this) {
        outstanding.remove(lease);
        if (closed) {
          return;
        }
        waiter = waiters.poll();
        if (waiter == null) {
          free.push(slab);
          if (outstanding.isEmpty() && !idleListeners.isEmpty()) {
            closing = shut();
          }
          break;
        }
        next = lease(slab);
      }
      if (waiter.grant(next)) {
        return;
      }
      lease = next; // Cancelled meanwhile: the next one's turn.
    }
    closing.run();
  }

  /**
   * Closes the pool as soon as no slab is leased: whoever ends a pipeline must not free what the
   * operating system may still be reading from. From then on nobody gets one.
   *
   * <p><b>Ordering and threading:</b> on the thread that releases the last slab, or at once.
   *
   * @return completes when the pool is closed, be it by {@link #close}; cancelling leaves it open
   */
  public Mono<Void> closeWhenIdle() {
    return Mono.create(
        sink -> {
          Runnable onClosed = sink::success;
          Runnable closing = () -> {};
          synchronized (this) {
            if (!closed) {
              idleListeners.add(onClosed);
              if (outstanding.isEmpty()) {
                closing = shut();
              }
            } else {
              closing = onClosed;
            }
          }
          sink.onDispose(
              () -> {
                synchronized (this) {
                  idleListeners.remove(onClosed);
                }
              });
          closing.run();
        });
  }

  /**
   * Frees the slabs, also those that are still leased: close a pool when nothing uses it any more.
   * Waiting subscribers get an error.
   */
  @Override
  public void close() {
    Runnable closing;
    synchronized (this) {
      if (closed) {
        return;
      }
      closing = shut();
    }
    closing.run();
  }

  /**
   * Lets nobody in any more; the caller holds the monitor. To be idle and to be shut has to be one
   * step: a slab leased in between would be freed under its holder.
   *
   * @return what remains to be done outside of the monitor
   */
  private Runnable shut() {
    closed = true;
    Waiter[] refused = waiters.toArray(Waiter[]::new);
    Runnable[] listeners = idleListeners.toArray(Runnable[]::new);
    waiters.clear();
    idleListeners.clear();
    free.clear();
    return () -> {
      for (Waiter waiter : refused) {
        waiter.refuse();
      }
      arena.close();
      for (Runnable listener : listeners) {
        listener.run();
      }
    };
  }

  @Override
  public String toString() {
    return "SlabPool[%d of %d leased, %d bytes each]"
        .formatted(outstanding(), slabs, geometry.slabBytes());
  }
}
