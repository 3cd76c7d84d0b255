package io.pageflux.qemu.postcopy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Mono;
import reactor.test.scheduler.VirtualTimeScheduler;
import reactor.util.retry.Retry;

/** A blocked thread follows a retry's pauses. */
class RetryPacerTest {

  private static final IllegalStateException LOST = new IllegalStateException("lost");

  @Test
  void attemptsComeWhenTheRetryHasThem() throws Exception {
    VirtualTimeScheduler time = VirtualTimeScheduler.create();
    SynchronousQueue<Duration> waits = new SynchronousQueue<>();
    Retry retry =
        Retry.from(
            failures ->
                failures.concatMap(
                    failure -> {
                      long n = failure.totalRetries();
                      Duration pause = Duration.ofHours(1L << n);
                      return Mono.<Long>create(
                          sink -> {
                            if (n == 3) {
                              sink.error(LOST);
                            } else {
                              time.schedule(() -> sink.success(n), pause.toHours(), TimeUnit.HOURS);
                              tell(waits, pause);
                            }
                          });
                    }));
    List<Boolean> next = new ArrayList<>();
    Bell bell = new Bell();
    Thread waiting =
        Thread.ofPlatform()
            .start(
                () -> {
                  try (RetryPacer pacer = new RetryPacer(retry, bell)) {
                    do {
                      next.add(pacer.awaitNext(LOST));
                    } while (next.getLast());
                  } catch (InterruptedException e) {
                    throw new AssertionError(e);
                  }
                });
    for (long hours = 1; hours <= 4; hours *= 2) {
      assertThat(waits.poll(60, TimeUnit.SECONDS)).isEqualTo(Duration.ofHours(hours));
      time.advanceTimeBy(Duration.ofHours(hours));
    }
    assertThat(waiting.join(Duration.ofSeconds(60))).isTrue();
    assertThat(next).containsExactly(true, true, true, false);
  }

  private static void tell(SynchronousQueue<Duration> waits, Duration wait) {
    // On a thread of its own, for the one that waits has this one.
    Thread.ofVirtual()
        .start(
            () -> {
              try {
                waits.put(wait);
              } catch (InterruptedException e) {
                throw new AssertionError(e);
              }
            });
  }

  @Test
  void aStopEndsThePause() throws Exception {
    Bell bell = new Bell();
    try (RetryPacer pacer =
        new RetryPacer(
            Retry.from(
                failures ->
                    failures
                        .doOnNext(failure -> bell.stop(new CancellationException("stop")))
                        .ignoreElements()),
            bell)) {
      assertThatThrownBy(() -> pacer.awaitNext(LOST)).isInstanceOf(CancellationException.class);
    }
  }
}
