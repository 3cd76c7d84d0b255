package io.pageflux.postcopy;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.MonoSink;
import reactor.core.scheduler.Schedulers;

/**
 * A guest's memory at the destination of a migration that may switch to post-copy: what the guest
 * reads and writes by, since pages may not be there yet.
 *
 * <p>Either by {@link #read} and {@link #write}, or by saying with {@link #require} or {@link
 * #fetch} which bytes are about to be touched and touching {@link RamBlock#segment()} then: a page
 * that is here stays here. Where nothing is absent (before a switch, after the last page, without
 * post-copy) an access costs a look at one field.
 *
 * <p><b>Writes:</b> a write of a part of an absent page first fetches the page. A {@link #write}
 * that covers a page as a whole owns it at once, without fetching it: the source's copy is dropped
 * when it comes. Never touch bytes of an absent page otherwise: what arrives would overwrite them.
 *
 * <p><b>Ordering and threading:</b> for any number of threads. Each page is handed over as a whole;
 * an access that spans pages is no single step, as with memory. Two who write the same bytes at
 * once are on their own, as with memory.
 *
 * <p><b>Memory bound:</b> that of {@link AbsentPages} from the switch until the last page has come,
 * and nothing besides.
 *
 * <p><b>Errors:</b> {@code IndexOutOfBoundsException} for bytes outside of a block. A {@link
 * MigrationException} if an absent page does not come: of kind {@code TIMEOUT} after {@link
 * PostcopySpec#fetchTimeout()}; of the kind of what happened to it, if the source is lost; {@code
 * CANCELLED} if the waiting thread is interrupted. Nothing was read or written of the page, and the
 * access may be tried again.
 */
public final class PostcopyMemory {

  /** So many pages are waited for at once by one access; a longer one goes on with the next. */
  private static final int PAGES_AT_ONCE = 64;

  private final GuestMemory memory;
  private final PostcopySpec spec;
  private volatile @Nullable AbsentPages absent;

  private PostcopyMemory(GuestMemory memory, PostcopySpec spec) {
    this.memory = Objects.requireNonNull(memory, "memory");
    this.spec = Objects.requireNonNull(spec, "spec");
  }

  /** {@return a memory of which all is here} */
  public static PostcopyMemory of(GuestMemory memory) {
    return of(memory, PostcopySpec.DEFAULT);
  }

  /** {@return a memory of which all is here} */
  public static PostcopyMemory of(GuestMemory memory, PostcopySpec spec) {
    return new PostcopyMemory(memory, spec);
  }

  /** {@return the memory itself} */
  public GuestMemory memory() {
    return memory;
  }

  /** {@return how absent pages are waited for} */
  public PostcopySpec spec() {
    return spec;
  }

  /**
   * For a migration: from here on pages are absent as a state says, until it is {@linkplain #ended
   * ended}.
   *
   * @param state made for this memory
   */
  public void begin(AbsentPages state) {
    absent = Objects.requireNonNull(state, "state");
  }

  /** For a migration: every page is here, or none is waited for by this state any more. */
  public void ended(AbsentPages state) {
    if (absent == state) {
      absent = null;
    }
  }

  /**
   * For a migration: every page has come before the guest was started, also what an earlier
   * migration had left absent that was given up.
   */
  public void becomeWhole() {
    absent = null;
  }

  /** {@return the state of the pages while some may be absent; null else} */
  public @Nullable AbsentPages absent() {
    return absent;
  }

  /** {@return whether all of some bytes are here} */
  public boolean isHere(int block, long offset, long bytes) {
    RamBlock of = check(block, offset, bytes);
    AbsentPages state = absent;
    return state == null || firstMissing(state, of, offset, bytes) < 0;
  }

  private RamBlock check(int block, long offset, long bytes) {
    RamBlock of = memory.block(block);
    Objects.checkFromIndexSize(offset, bytes, of.sizeBytes());
    return of;
  }

  private static long firstMissing(AbsentPages state, RamBlock block, long offset, long bytes) {
    long end = endPage(block, offset, bytes);
    for (long page = offset / block.pageSizeBytes(); page < end; page++) {
      if (!state.isPresent(block.index(), page)) {
        return page;
      }
    }
    return -1;
  }

  private static long endPage(RamBlock block, long offset, long bytes) {
    return bytes == 0
        ? offset / block.pageSizeBytes()
        : (offset + bytes - 1) / block.pageSizeBytes() + 1;
  }

  /**
   * Waits until some bytes are here. They may be read and written from then on, directly.
   *
   * @throws IllegalStateException if it would have to wait on a thread of Reactor's, which must not
   *     be blocked: use {@link #fetch} there
   */
  public void require(int block, long offset, long bytes) {
    RamBlock of = check(block, offset, bytes);
    AbsentPages state = absent;
    if (state == null) {
      return;
    }
    long page = firstMissing(state, of, offset, bytes);
    if (page >= 0) {
      waitFor(state, of, page, endPage(of, offset, bytes));
    }
  }

  private void waitFor(AbsentPages state, RamBlock block, long firstPage, long endPage) {
    if (Schedulers.isInNonBlockingThread()) {
      throw new IllegalStateException(
          "page %d of block '%s' is absent, and the thread '%s' must not be blocked: use fetch()"
              .formatted(firstPage, block.name(), Thread.currentThread().getName()));
    }
    boolean limited = !spec.fetchTimeout().isZero();
    long deadline = limited ? System.nanoTime() + spec.fetchTimeout().toNanos() : 0;
    for (long page = firstPage; page < endPage; page += PAGES_AT_ONCE) {
      ThreadWaiter waiter = new ThreadWaiter();
      state.await(block.index(), page, Math.min(endPage, page + PAGES_AT_ONCE), waiter);
      try {
        waiter.park(limited, deadline);
      } catch (TimeoutException e) {
        state.giveUp(waiter);
        throw timedOut(state, block, page, endPage);
      } catch (InterruptedException e) {
        state.giveUp(waiter);
        Thread.currentThread().interrupt();
        throw MigrationException.of(
            Kind.CANCELLED,
            "interrupted while waiting for page %d of block '%s'".formatted(page, block.name()),
            e);
      }
    }
  }

  private MigrationException timedOut(AbsentPages state, RamBlock block, long page, long endPage) {
    MigrationException lost = state.lost();
    String what =
        endPage - page == 1 ? "page " + page : "pages %d to %d".formatted(page, endPage - 1);
    return MigrationException.of(
        Kind.TIMEOUT,
        "%s of block '%s' did not come within %s%s"
            .formatted(
                what,
                block.name(),
                spec.fetchTimeout(),
                lost == null ? "" : ": the source is lost (" + lost.getMessage() + ")"));
  }

  private static final class ThreadWaiter extends PageWaiter {

    private final Thread thread = Thread.currentThread();
    private volatile boolean done;
    private volatile @Nullable Throwable failure;

    @Override
    void done(@Nullable Throwable why) {
      failure = why;
      done = true;
      LockSupport.unpark(thread);
    }

    void park(boolean limited, long deadline) throws TimeoutException, InterruptedException {
      while (!done) {
        if (Thread.interrupted()) {
          throw new InterruptedException();
        }
        if (limited) {
          long left = deadline - System.nanoTime();
          if (left <= 0) {
            throw new TimeoutException();
          }
          LockSupport.parkNanos(this, left);
        } else {
          LockSupport.park(this);
        }
      }
      if (failure instanceof MigrationException known) {
        throw MigrationException.of(known.kind(), String.valueOf(known.getMessage()), known);
      }
    }
  }

  /**
   * Completes when some bytes are here.
   *
   * <p><b>Ordering and threading:</b> on the subscribing thread if they are here already, else on
   * the thread on which the last of their pages arrived, which must not be held up, or a timer's.
   *
   * <p><b>Discard and cancel:</b> after a cancel nobody waits any more; pages that were asked for
   * come all the same.
   */
  public Mono<Void> fetch(int block, long offset, long bytes) {
    return Mono.defer(
        () -> {
          RamBlock of = check(block, offset, bytes);
          AbsentPages state = absent;
          long page = state == null ? -1 : firstMissing(state, of, offset, bytes);
          if (state == null || page < 0) {
            return Mono.empty();
          }
          long end = endPage(of, offset, bytes);
          Mono<Void> fetched = fetch(state, of, page, end);
          Duration timeout = spec.fetchTimeout();
          return timeout.isZero()
              ? fetched
              : fetched.timeout(timeout, Mono.error(() -> timedOut(state, of, page, end)));
        });
  }

  private static Mono<Void> fetch(AbsentPages state, RamBlock block, long page, long end) {
    long to = Math.min(end, page + PAGES_AT_ONCE);
    Mono<Void> first =
        Mono.create(
            sink -> {
              SinkWaiter waiter = new SinkWaiter(sink);
              sink.onCancel(() -> waiter.cancel(state));
              state.await(block.index(), page, to, waiter);
              if (waiter.isTold()) {
                state.giveUp(waiter); // A cancel may have come in the middle.
              }
            });
    return to == end ? first : first.then(Mono.defer(() -> fetch(state, block, to, end)));
  }

  private static final class SinkWaiter extends PageWaiter {

    private final MonoSink<Void> sink;
    private volatile boolean cancelled;

    SinkWaiter(MonoSink<Void> sink) {
      this.sink = sink;
    }

    void cancel(AbsentPages state) {
      cancelled = true;
      tell(null);
      state.giveUp(this);
    }

    @Override
    void done(@Nullable Throwable failure) {
      if (cancelled) {
        return;
      }
      if (failure == null) {
        sink.success();
      } else {
        sink.error(failure);
      }
    }
  }

  /**
   * Reads bytes, waiting for those that are absent.
   *
   * @param into takes as many bytes as it has
   * @throws IllegalStateException as {@link #require}
   */
  public void read(int block, long offset, MemorySegment into) {
    require(block, offset, into.byteSize());
    MemorySegment.copy(memory.block(block).segment(), offset, into, 0, into.byteSize());
  }

  /** {@return some bytes when they are here} Otherwise as {@link #fetch}. */
  public Mono<byte[]> read(int block, long offset, int bytes) {
    return fetch(block, offset, bytes)
        .then(
            Mono.fromSupplier(
                () ->
                    memory
                        .block(block)
                        .segment()
                        .asSlice(offset, bytes)
                        .toArray(ValueLayout.JAVA_BYTE)));
  }

  /**
   * Writes bytes. Pages that are covered as a whole need not be here; others are waited for, first
   * of all, so that nothing is written if one of them does not come.
   *
   * @throws IllegalStateException as {@link #require}
   */
  public void write(int block, long offset, MemorySegment from) {
    long bytes = from.byteSize();
    RamBlock to = check(block, offset, bytes);
    if (bytes == 0) {
      return;
    }
    AbsentPages state = absent;
    if (state == null) {
      MemorySegment.copy(from, 0, to.segment(), offset, bytes);
      return;
    }
    requireEdges(to, offset, bytes);
    int pageSize = to.pageSizeBytes();
    for (long at = offset; at < offset + bytes; ) {
      long page = at / pageSize;
      long n = Math.min((page + 1) * pageSize, offset + bytes) - at;
      if (n < pageSize || !state.own(block, page, from, at - offset)) {
        require(block, at, n); // It is about to be here, if it is not.
        MemorySegment.copy(from, at - offset, to.segment(), at, n);
      }
      at += n;
    }
  }

  private void requireEdges(RamBlock block, long offset, long bytes) {
    int pageSize = block.pageSizeBytes();
    long end = offset + bytes;
    if (offset % pageSize != 0) {
      require(block.index(), offset, 1);
    }
    if (end % pageSize != 0) {
      require(block.index(), end - 1, 1);
    }
  }

  /** Writes bytes, when the pages that they cover in part are here. As {@link #fetch}. */
  public Mono<Void> write(int block, long offset, byte[] bytes) {
    return Mono.defer(
        () -> {
          RamBlock to = check(block, offset, bytes.length);
          int pageSize = to.pageSizeBytes();
          long end = offset + bytes.length;
          Mono<Void> head = offset % pageSize == 0 ? Mono.empty() : fetch(block, offset, 1);
          Mono<Void> tail = end % pageSize == 0 ? Mono.empty() : fetch(block, end - 1, 1);
          return bytes.length == 0
              ? Mono.empty()
              : head.then(tail)
                  .then(Mono.<Void>fromRunnable(() -> ownWhole(to, offset, bytes)))
                  // Those that somebody else was writing just then.
                  .then(fetch(block, offset, bytes.length))
                  .then(
                      Mono.<Void>fromRunnable(
                          () ->
                              MemorySegment.copy(
                                  MemorySegment.ofArray(bytes),
                                  0,
                                  to.segment(),
                                  offset,
                                  bytes.length)));
        });
  }

  private void ownWhole(RamBlock block, long offset, byte[] bytes) {
    AbsentPages state = absent;
    int pageSize = block.pageSizeBytes();
    long first = (offset + pageSize - 1) / pageSize;
    long end = (offset + bytes.length) / pageSize;
    for (long page = first; state != null && page < end; page++) {
      state.own(block.index(), page, MemorySegment.ofArray(bytes), page * pageSize - offset);
    }
  }

  /** {@return the 8 bytes at an offset, big-endian} Waits for them; see {@link #read}. */
  public long getLong(int block, long offset) {
    require(block, offset, Long.BYTES);
    return memory.block(block).segment().get(BIG_ENDIAN_LONG, offset);
  }

  /** Writes 8 bytes, big-endian. Waits for their pages; see {@link #write}. */
  public void putLong(int block, long offset, long value) {
    require(block, offset, Long.BYTES);
    memory.block(block).segment().set(BIG_ENDIAN_LONG, offset, value);
  }

  private static final ValueLayout.OfLong BIG_ENDIAN_LONG =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(java.nio.ByteOrder.BIG_ENDIAN);

  @Override
  public String toString() {
    AbsentPages state = absent;
    return "PostcopyMemory[%s, %d pages absent]"
        .formatted(memory, state == null ? 0 : state.missing());
  }
}
