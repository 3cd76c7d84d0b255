package io.pageflux.operator;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import reactor.core.Disposable;
import reactor.core.Disposables;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Sinks;
import reactor.test.StepVerifier;
import reactor.test.scheduler.VirtualTimeScheduler;

class BandwidthLimitTest {

  private static final int KIB = 1024;

  @Test
  void theNextElementIsNotRequestedBeforeItsTurn() {
    VirtualTimeScheduler clock = VirtualTimeScheduler.create();
    AtomicLong requested = new AtomicLong();
    Flux<Integer> limited =
        Flux.range(0, 100)
            .doOnRequest(requested::addAndGet)
            .transform(BandwidthLimit.of(i -> 100 * KIB, () -> 1000L * KIB, clock));
    StepVerifier.create(limited.map(i -> 1))
        .expectSubscription()
        .expectNext(1)
        .then(() -> assertThat(requested).hasValue(1))
        .then(() -> clock.advanceTimeBy(Duration.ofMillis(94)))
        .then(() -> assertThat(requested).hasValue(1))
        .then(() -> clock.advanceTimeBy(Duration.ofMillis(6)))
        .expectNext(1)
        .then(() -> assertThat(requested).hasValue(2))
        .thenCancel()
        .verify();
  }

  @Test
  void whatIsOnItsWayWhenSomebodyCancelsIsDiscarded() {
    for (long limit : new long[] {0, 1}) {
      List<Integer> discarded = new ArrayList<>();
      List<Integer> passed = new ArrayList<>();
      Disposable.Swap subscription = Disposables.swap();
      Sinks.Many<Integer> source = Sinks.many().unicast().onBackpressureBuffer();
      subscription.update(
          source
              .asFlux()
              .transform(
                  BandwidthLimit.of(
                      i -> {
                        subscription.dispose();
                        return KIB;
                      },
                      () -> limit,
                      VirtualTimeScheduler.create()))
              .doOnDiscard(Integer.class, discarded::add)
              .subscribe(passed::add));
      source.tryEmitNext(7);
      assertThat(passed).isEmpty();
      assertThat(discarded).containsExactly(7);
    }
  }

  @Test
  void overTimeTheRateIsTheLimit() {
    VirtualTimeScheduler clock = VirtualTimeScheduler.create();
    AtomicLong bytes = new AtomicLong();
    Flux.range(0, Integer.MAX_VALUE)
        .transform(BandwidthLimit.of(i -> 256 * KIB, () -> 100_000L * KIB, clock))
        .subscribe(i -> bytes.addAndGet(256 * KIB));
    for (int i = 0; i < 10_000; i++) {
      clock.advanceTimeBy(Duration.ofMillis(1));
    }
    assertThat(clock.now(TimeUnit.MILLISECONDS)).isEqualTo(10_000);
    assertThat(bytes.get()).isBetween(999_000L * KIB, 1_002_000L * KIB);
  }

  @Test
  void timeInWhichNothingCameIsNotSavedUp() {
    VirtualTimeScheduler clock = VirtualTimeScheduler.create();
    AtomicLong elements = new AtomicLong();
    StepVerifier.create(
            Flux.range(0, 100)
                .transform(BandwidthLimit.of(i -> 100 * KIB, () -> 1000L * KIB, clock))
                .doOnNext(i -> elements.incrementAndGet()),
            0)
        .then(() -> clock.advanceTimeBy(Duration.ofSeconds(60)))
        .thenRequest(100)
        .expectNextCount(1)
        .then(() -> assertThat(elements).hasValue(1))
        .thenCancel()
        .verify();
  }

  @Test
  void theLimitMayChangeAndMayBeNone() {
    VirtualTimeScheduler clock = VirtualTimeScheduler.create();
    AtomicLong rate = new AtomicLong(1);
    StepVerifier.create(Flux.range(0, 50).transform(BandwidthLimit.of(i -> KIB, rate::get, clock)))
        .expectNext(0)
        .then(() -> rate.set(0))
        .then(() -> clock.advanceTimeBy(Duration.ofSeconds(KIB)))
        .expectNextCount(49)
        .verifyComplete();
  }

  @Test
  void aChangeActsOnWhatIsKeptBack() {
    VirtualTimeScheduler clock = VirtualTimeScheduler.create();
    AtomicLong rate = new AtomicLong(1);
    Sinks.Many<Boolean> changes = Sinks.many().multicast().directBestEffort();
    StepVerifier.create(
            Flux.range(0, 50)
                .transform(BandwidthLimit.of(i -> KIB, rate::get, clock, changes.asFlux())))
        .expectNext(0)
        .then(() -> clock.advanceTimeBy(Duration.ofSeconds(24)))
        .then(() -> rate.set(100)) // 1000 bytes are owed, which are 10 s now
        .then(() -> changes.tryEmitNext(true))
        .then(() -> clock.advanceTimeBy(Duration.ofMillis(9_990)))
        .expectNoEvent(Duration.ZERO)
        .then(() -> clock.advanceTimeBy(Duration.ofMillis(10)))
        .expectNext(1)
        .then(() -> rate.set(0))
        .then(() -> changes.tryEmitNext(true))
        .then(() -> clock.advanceTimeBy(Duration.ZERO))
        .expectNextCount(48)
        .verifyComplete();
  }
}
