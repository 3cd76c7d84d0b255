package io.pageflux.operator;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.reactivestreams.Subscription;
import reactor.core.publisher.BaseSubscriber;
import reactor.core.publisher.Flux;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;
import reactor.test.publisher.TestPublisher;
import reactor.test.util.RaceTestUtils;

@Timeout(60)
class OrderedParallelMapTest {

  private static final Duration LIMIT = Duration.ofSeconds(20);

  /** An element that knows how often it was released. */
  private static final class Item {
    final int number;
    final AtomicInteger released = new AtomicInteger();

    Item(int number) {
      this.number = number;
    }
  }

  private final Scheduler scheduler = Schedulers.newParallel("test-map", 3, true);
  private final AtomicInteger openWorkers = new AtomicInteger();

  @AfterEach
  void everyWorkerIsClosed() {
    scheduler.disposeGracefully().block(LIMIT);
    assertThat(openWorkers).hasValue(0);
  }

  @FunctionalInterface
  private interface Work {
    Item apply(Item item) throws Exception;
  }

  private Function<Flux<Item>, Flux<Item>> map(int parallelism, int inFlight, Work work) {
    return OrderedParallelMap.of(
        parallelism,
        inFlight,
        scheduler,
        () -> {
          openWorkers.incrementAndGet();
          return new OrderedParallelMap.Worker<Item>() {
            private final AtomicBoolean busy = new AtomicBoolean();

            @Override
            public Item apply(Item item) {
              assertThat(busy.compareAndSet(false, true)).as("one thread per worker").isTrue();
              try {
                return work.apply(item);
              } catch (RuntimeException e) {
                throw e;
              } catch (Exception e) {
                throw new IllegalStateException(e);
              } finally {
                busy.set(false);
              }
            }

            @Override
            public void close() {
              assertThat(busy).isFalse();
              openWorkers.decrementAndGet();
            }
          };
        },
        item -> item.number % 7 != 0,
        item -> item.released.incrementAndGet());
  }

  private static List<Item> items(int n) {
    return IntStream.range(0, n).mapToObj(Item::new).toList();
  }

  @Test
  void theOrderIsKeptThoughTheWorkIsDoneInParallel() {
    List<Item> items = items(10_000);
    List<Integer> out =
        Flux.fromIterable(items)
            .transform(map(3, 6, item -> item))
            .map(item -> item.number)
            .collectList()
            .block(LIMIT);
    assertThat(out).isEqualTo(IntStream.range(0, 10_000).boxed().toList());
    assertThat(items).allMatch(item -> item.released.get() == 0);
  }

  @Test
  void workersWorkAtTheSameTime() {
    CyclicBarrier together = new CyclicBarrier(3);
    StepVerifier.create(
            Flux.just(new Item(1), new Item(2), new Item(3))
                .transform(
                    map(
                        3,
                        3,
                        item -> {
                          together.await(20, TimeUnit.SECONDS);
                          return item;
                        }))
                .map(item -> item.number))
        .expectNext(1, 2, 3)
        .verifyComplete();
  }

  @Test
  void atMostInFlightElementsAreRequestedAheadOfDemand() {
    TestPublisher<Item> source = TestPublisher.create();
    // What is emitted is asked for again afterwards, in the thread that emitted it.
    BlockingQueue<Long> requests = new LinkedBlockingQueue<>();
    StepVerifier.create(
            source.flux().doOnRequest(requests::add).transform(map(2, 4, item -> item)), 0)
        .then(() -> assertThat(next(requests)).isEqualTo(4))
        .then(() -> items(4).forEach(source::next))
        .thenRequest(1)
        .expectNextCount(1)
        .then(() -> assertThat(next(requests)).isEqualTo(1))
        .then(source::complete)
        .thenRequest(10)
        .expectNextCount(3)
        .verifyComplete();
    assertThat(requests.stream().mapToLong(Long::longValue).sum()).isLessThanOrEqualTo(3);
  }

  private static @Nullable Long next(BlockingQueue<Long> requests) {
    try {
      return requests.poll(LIMIT.toMillis(), TimeUnit.MILLISECONDS);
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void anErrorOfAWorkerComesInItsPlaceAndTheRestIsReleased() {
    List<Item> items = items(100);
    StepVerifier.create(
            Flux.fromIterable(items)
                .transform(
                    map(
                        2,
                        8,
                        item -> {
                          if (item.number == 20) {
                            throw new IllegalArgumentException("no");
                          }
                          return item;
                        }))
                .map(item -> item.number))
        .expectNextSequence(IntStream.range(0, 20).boxed().toList())
        .verifyErrorMessage("no");
    scheduler.disposeGracefully().block(LIMIT);
    assertThat(items.subList(0, 20)).allMatch(item -> item.released.get() == 0);
    assertThat(items.get(20).released).hasValue(1);
    // Those after it were either never taken from the source or released once.
    assertThat(items.subList(21, 100)).allMatch(item -> item.released.get() <= 1);
    assertThat(items.subList(29, 100)).allMatch(item -> item.released.get() == 0);
  }

  @Test
  void anErrorOfTheSourceComesAfterWhatCameBeforeIt() {
    StepVerifier.create(
            Flux.fromIterable(items(10))
                .concatWith(Flux.error(new IllegalStateException("gone")))
                .transform(map(2, 4, item -> item))
                .map(item -> item.number))
        .expectNextCount(10)
        .verifyErrorMessage("gone");
  }

  @Test
  void everyElementIsEitherDeliveredOrReleasedOnceWhenACancelRaces() {
    List<CancelledRun> runs = new ArrayList<>();
    for (int round = 0; round < 300; round++) {
      CancelledRun run = new CancelledRun();
      Flux.fromIterable(run.items)
          .doOnNext(item -> run.emitted.incrementAndGet())
          .transform(map(3, 6, item -> item))
          .subscribe(run);
      RaceTestUtils.race(run::cancel, () -> run.request(3));
      runs.add(run);
    }
    // Rails that are at work let go of what they have, and only then have they ended.
    scheduler.disposeGracefully().block(LIMIT);
    for (int round = 0; round < runs.size(); round++) {
      CancelledRun run = runs.get(round);
      for (Item item : run.items.subList(0, run.emitted.get())) {
        assertThat(item.released)
            .as("item %d of round %d", item.number, round)
            .hasValue(run.delivered.contains(item) ? 0 : 1);
      }
    }
  }

  /** A subscriber that keeps what it is given, and asks for as much again. */
  private static final class CancelledRun extends BaseSubscriber<Item> {
    final List<Item> items = items(64);
    final AtomicInteger emitted = new AtomicInteger();
    final Queue<Item> delivered = new ConcurrentLinkedQueue<>();

    @Override
    protected void hookOnSubscribe(Subscription s) {
      request(8);
    }

    @Override
    protected void hookOnNext(Item item) {
      delivered.add(item);
      request(1);
    }
  }

  @Test
  void aDisposedSchedulerIsAnErrorAndLosesNothing() {
    Scheduler gone = Schedulers.newSingle("gone", true);
    List<Item> items = items(5);
    AtomicInteger emitted = new AtomicInteger();
    Flux<Item> flux =
        Flux.fromIterable(items)
            .doOnNext(item -> emitted.incrementAndGet())
            .transform(
                OrderedParallelMap.of(
                    1,
                    4,
                    gone,
                    () -> {
                      throw new AssertionError("no worker is needed");
                    },
                    item -> true,
                    item -> item.released.incrementAndGet()));
    gone.dispose();
    StepVerifier.create(flux).verifyError(RejectedExecutionException.class);
    assertThat(emitted).hasPositiveValue();
    assertThat(items.subList(0, emitted.get())).allMatch(item -> item.released.get() == 1);
  }

  @Test
  void moreThanWasRequestedIsRefused() {
    TestPublisher<Item> source =
        TestPublisher.createNoncompliant(TestPublisher.Violation.REQUEST_OVERFLOW);
    List<Item> items = items(40);
    StepVerifier.create(source.flux().transform(map(1, 8, item -> item)), 0)
        .then(() -> items.forEach(source::next))
        .thenRequest(100)
        .thenConsumeWhile(item -> true)
        .verifyErrorMessage("the source emits more than was requested");
    assertThat(items.stream().filter(item -> item.released.get() == 1)).isNotEmpty();
  }

  @Test
  void whatTheSourceEmitsAfterAWorkerFailedIsReleased() {
    TestPublisher<Item> source =
        TestPublisher.createNoncompliant(TestPublisher.Violation.CLEANUP_ON_TERMINATE);
    Item late = new Item(2);
    StepVerifier.create(
            source
                .flux()
                .transform(
                    map(
                        1,
                        4,
                        item -> {
                          throw new IllegalArgumentException("no");
                        })))
        .then(() -> source.next(new Item(1)))
        .verifyErrorMessage("no");
    // A source may have an element on its way when it is cancelled.
    source.next(late);
    assertThat(late.released).hasValue(1);
  }

  @Test
  void aWorkerThatRunsOutOfMemoryIsClosedToo() {
    Item item = new Item(1);
    StepVerifier.create(
            Flux.just(item)
                .transform(
                    map(
                        1,
                        4,
                        it -> {
                          throw new OutOfMemoryError("direct, for instance");
                        })))
        .verifyError(OutOfMemoryError.class);
    assertThat(item.released).hasValue(1);
  }

  @Test
  @SuppressWarnings("NullAway") // what is tested
  void aWorkerThatReturnsNothingIsAnError() {
    Item item = new Item(1);
    StepVerifier.create(Flux.just(item).transform(map(1, 4, it -> null)))
        .verifyErrorMessage("a worker returned null");
    assertThat(item.released).hasValue(1);
  }

  @Test
  void aRequestOfNothingIsIgnored() {
    BaseSubscriber<Item> subscriber =
        new BaseSubscriber<>() {
          @Override
          protected void hookOnSubscribe(Subscription s) {
            s.request(0);
            s.request(-1);
          }
        };
    List<Item> items = items(3);
    Flux.fromIterable(items)
        .transform(map(1, 4, item -> item))
        .doOnNext(
            item -> {
              throw new AssertionError("nothing was requested");
            })
        .subscribe(subscriber);
    assertThat(subscriber.isDisposed()).isFalse();
    subscriber.cancel();
    while (openWorkers.get() > 0) {
      Thread.onSpinWait();
    }
    assertThat(items).allMatch(item -> item.released.get() == 1);
  }

  @Test
  void aRequestFromWithinOnNextDoesNotDeepenTheStack() {
    AtomicInteger depth = new AtomicInteger();
    AtomicInteger deepest = new AtomicInteger();
    CountDownLatch end = new CountDownLatch(1);
    Flux.fromStream(IntStream.range(0, 100_000).mapToObj(i -> new Item(7 * i)))
        .transform(map(1, 2, item -> item))
        .subscribe(
            new BaseSubscriber<>() {
              @Override
              protected void hookOnSubscribe(Subscription s) {
                s.request(1);
              }

              @Override
              protected void hookOnNext(Item item) {
                deepest.accumulateAndGet(depth.incrementAndGet(), Math::max);
                request(1);
                depth.decrementAndGet();
              }

              @Override
              protected void hookFinally(reactor.core.publisher.SignalType type) {
                end.countDown();
              }
            });
    assertThat(end.getCount()).isZero();
    assertThat(deepest).hasValue(1);
  }

  @Test
  void theContextIsSeenUpstream() {
    StepVerifier.create(
            Flux.deferContextual(c -> Flux.just(new Item(c.get("n"))))
                .transform(map(1, 1, item -> item))
                .map(item -> item.number)
                .contextWrite(c -> c.put("n", 5)))
        .expectNext(5)
        .verifyComplete();
  }

  @Test
  void wrongArgumentsAreRefused() {
    assertThatThrownBy(() -> map(0, 1, item -> item)).hasMessageContaining("parallelism > 0");
    assertThatThrownBy(() -> map(4, 3, item -> item)).hasMessageContaining("inFlight");
  }
}
