package io.pageflux.page;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.reactivestreams.Subscription;
import reactor.core.Disposable;
import reactor.core.publisher.BaseSubscriber;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;
import reactor.test.util.RaceTestUtils;

class SlabPoolTest {

  private static final BatchGeometry SMALL = new BatchGeometry(1, 4096);

  private final SlabPool pool = new SlabPool(2, SMALL);

  @AfterEach
  void close() {
    pool.close();
  }

  private Lease acquire() {
    return Objects.requireNonNull(pool.tryAcquire());
  }

  /** Keeps what it is given, also if it has cancelled meanwhile. */
  private static final class Taker extends BaseSubscriber<Lease> {
    final AtomicReference<Lease> taken = new AtomicReference<>();

    @Override
    protected void hookOnSubscribe(Subscription subscription) {}

    @Override
    protected void hookOnNext(Lease lease) {
      assertThat(taken.getAndSet(lease)).isNull();
    }
  }

  @Test
  void thereAreAsManyLeasesAsSlabsAndTheyDoNotOverlap() {
    Lease one = acquire();
    Lease two = acquire();
    assertThat(pool.tryAcquire()).isNull();
    assertThat(pool.outstanding()).isEqualTo(2);
    assertThat(pool.bytes()).isEqualTo(2L * SMALL.slabBytes());
    one.segment().fill((byte) 1);
    two.segment().fill((byte) 2);
    assertThat(one.segment().byteSize()).isEqualTo(SMALL.slabBytes());
    assertThat(one.segment().get(ValueLayout.JAVA_BYTE, SMALL.slabBytes() - 1)).isEqualTo((byte) 1);
    assertThat(one.buffer().get(0)).isEqualTo((byte) 1);
    assertThat(one.buffer().isDirect()).isTrue();
    one.release();
    one.release();
    assertThat(pool.outstanding()).isEqualTo(1);
    Lease again = acquire();
    assertThat(again.segment().address()).isEqualTo(one.segment().address());
    assertThat(again.isReleased()).isFalse();
    assertThat(one.isReleased()).isTrue();
  }

  @Test
  void whoeverWaitsLongestIsServedFirst() {
    Lease one = acquire();
    Lease two = acquire();
    List<String> served = new ArrayList<>();
    pool.acquire().subscribe(lease -> served.add("first"));
    Disposable cancelled = pool.acquire().subscribe(lease -> served.add("second"));
    pool.acquire().subscribe(lease -> served.add("third"));
    Disposable fourth = pool.acquire().subscribe(lease -> served.add("fourth"));
    cancelled.dispose();
    assertThat(served).isEmpty();
    one.release();
    assertThat(served).containsExactly("first");
    two.release();
    assertThat(served).containsExactly("first", "third");
    assertThat(pool.outstanding()).isEqualTo(2);
    fourth.dispose();
  }

  @Test
  void nothingIsLeasedBeforeItIsRequested() {
    Taker subscriber = new Taker();
    pool.acquire().subscribe(subscriber);
    assertThat(pool.outstanding()).isZero();
    subscriber.request(1);
    subscriber.request(1);
    assertThat(subscriber.taken.get()).isNotNull();
    assertThat(pool.outstanding()).isEqualTo(1);
  }

  @Test
  void aLeaseOnItsWayToAnotherThreadIsGivenBackIfNobodyWantsItThere() {
    List<Runnable> tasks = new ArrayList<>();
    Scheduler thread = Schedulers.fromExecutor(tasks::add);
    Lease held = acquire();
    acquire();
    List<Lease> taken = new ArrayList<>();
    Disposable waiting = pool.acquireOn(thread).subscribe(taken::add);
    held.release();
    assertThat(taken).isEmpty();
    assertThat(pool.outstanding()).isEqualTo(2);
    waiting.dispose();
    tasks.removeFirst().run();
    assertThat(taken).isEmpty();
    assertThat(pool.outstanding()).isEqualTo(1);
    pool.acquireOn(thread).subscribe(taken::add);
    tasks.removeFirst().run();
    assertThat(taken).hasSize(1);
    Scheduler gone = Schedulers.newSingle("gone");
    gone.dispose();
    pool.acquireOn(gone).subscribe(taken::add);
    taken.getFirst().release();
    assertThat(taken).hasSize(1);
    assertThat(pool.outstanding()).isEqualTo(1);
  }

  @Test
  void everySubscriptionIsAnAcquisition() {
    StepVerifier.create(pool.acquire().repeat(1)).expectNextCount(2).verifyComplete();
    assertThat(pool.outstanding()).isEqualTo(2);
  }

  @Test
  void aWaiterThatCancelsWhileASlabIsOnItsWayIsPassedOver() throws InterruptedException {
    Lease held = acquire();
    acquire();
    Taker gone = new Taker();
    Taker next = new Taker();
    Waiter waiter = new Waiter(pool, gone, null);
    waiter.request(1);
    pool.acquire().subscribe(next);
    next.request(1);
    Thread cancelling = new Thread(waiter::cancel);
    // While we hold the monitor, the cancel has happened but the pool has not forgotten the waiter.
    synchronized (pool) {
      cancelling.start();
      while (!waiter.hasEnded()) {
        Thread.onSpinWait();
      }
      held.release();
    }
    cancelling.join();
    assertThat(gone.taken.get()).isNull();
    assertThat(next.taken.get()).isNotNull();
    assertThat(pool.outstanding()).isEqualTo(2);
  }

  @Test
  void aReleaseThatRacesWithACancelLosesNoSlab() {
    for (int i = 0; i < 2_000; i++) {
      Lease held = acquire();
      Lease other = acquire();
      Taker waiting = new Taker();
      pool.acquire().subscribe(waiting);
      waiting.request(1);
      RaceTestUtils.race(held::release, waiting::cancel);
      Lease mine = waiting.taken.get();
      assertThat(pool.outstanding()).as("race %d", i).isEqualTo(mine == null ? 1 : 2);
      if (mine != null) {
        mine.release();
      }
      other.release();
      assertThat(pool.outstanding()).as("race %d", i).isZero();
    }
  }

  @Test
  void aRequestThatRacesWithACancelAndAReleaseLosesNoSlab() {
    for (int i = 0; i < 2_000; i++) {
      Lease held = acquire();
      Lease other = acquire();
      Taker subscriber = new Taker();
      pool.acquire().subscribe(subscriber);
      RaceTestUtils.race(() -> subscriber.request(1), subscriber::cancel, held::release);
      Lease mine = subscriber.taken.get();
      if (mine != null) {
        mine.release();
      }
      other.release();
      assertThat(pool.outstanding()).as("race %d", i).isZero();
      // Both slabs are there, and nobody stands before us in the queue.
      Lease first = acquire();
      Lease second = acquire();
      AtomicReference<Lease> next = new AtomicReference<>();
      pool.acquire().subscribe(next::set);
      first.release();
      assertThat(next.get()).as("race %d", i).isNotNull();
      Objects.requireNonNull(next.get()).release();
      second.release();
    }
  }

  @Test
  void releasesThatRaceServeEveryWaiter() {
    for (int i = 0; i < 2_000; i++) {
      Lease one = acquire();
      Lease two = acquire();
      AtomicReference<Lease> first = new AtomicReference<>();
      AtomicReference<Lease> second = new AtomicReference<>();
      RaceTestUtils.race(
          () -> {
            pool.acquire().subscribe(first::set);
            one.release();
          },
          () -> {
            pool.acquire().subscribe(second::set);
            two.release();
          });
      Objects.requireNonNull(first.get(), "race " + i).release();
      Objects.requireNonNull(second.get(), "race " + i).release();
      assertThat(pool.outstanding()).isZero();
    }
  }

  @Test
  void closingRefusesThoseWhoWaitAndThoseWhoCome() {
    Lease one = acquire();
    Lease two = acquire();
    AtomicReference<Throwable> refused = new AtomicReference<>();
    pool.acquire().subscribe(lease -> {}, refused::set);
    MemorySegment slab = two.segment();
    pool.close();
    pool.close();
    assertThat(refused.get()).isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(pool::tryAcquire).isInstanceOf(IllegalStateException.class);
    StepVerifier.create(pool.acquire()).verifyError(IllegalStateException.class);
    one.release();
    two.release();
    assertThat(pool.outstanding()).isZero();
    assertThatThrownBy(() -> slab.get(ValueLayout.JAVA_BYTE, 0))
        .isInstanceOf(IllegalStateException.class);
  }

  @Test
  void aCloseThatRacesWithAnAcquisitionEndsItOneWayOrTheOther() {
    for (int i = 0; i < 300; i++) {
      SlabPool racing = new SlabPool(1, SMALL);
      AtomicReference<Object> end = new AtomicReference<>();
      RaceTestUtils.race(racing::close, () -> racing.acquire().subscribe(end::set, end::set));
      assertThat(end.get()).as("race %d", i).isNotNull();
    }
  }

  @Test
  void aCloseInBetweenEndsTheWaitForIdleness() {
    Lease lease = acquire();
    StepVerifier.create(pool.closeWhenIdle()).then(pool::close).verifyComplete();
    StepVerifier.create(pool.closeWhenIdle()).verifyComplete();
    lease.release();
  }

  @Test
  void nobodyGetsASlabOnceThePoolIsIdleAndToBeClosed() {
    for (int i = 0; i < 1_000; i++) {
      SlabPool racing = new SlabPool(1, SMALL);
      Lease last = Objects.requireNonNull(racing.tryAcquire());
      racing.closeWhenIdle().subscribe();
      RaceTestUtils.race(
          last::release,
          () -> {
            try {
              Lease late = racing.tryAcquire();
              while (late == null) {
                late = racing.tryAcquire();
              }
              // Whoever has a slab can use it.
              late.segment().fill((byte) 1);
              late.release();
            } catch (IllegalStateException e) {
              assertThat(e).hasMessage("the slab pool is closed");
            }
          });
    }
  }

  @Test
  void geometriesOutOfRangeAreRefused() {
    assertThatThrownBy(() -> new SlabPool(0, SMALL)).isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new BatchGeometry(0, 4096))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new BatchGeometry(4097, 4096))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new BatchGeometry(1, 4095))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new BatchGeometry(1, 16 << 20))
        .isInstanceOf(IllegalArgumentException.class);
    assertThat(BatchGeometry.forPageSize(2 << 20).pagesPerBatch(2 << 20)).isEqualTo(1);
    assertThat(BatchGeometry.DEFAULT.pagesPerBatch(4096)).isEqualTo(64);
    assertThat(BatchGeometry.DEFAULT.headroomBytes() % 4096).isZero();
  }
}
