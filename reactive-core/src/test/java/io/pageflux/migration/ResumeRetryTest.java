package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.test.StepVerifier;
import reactor.test.scheduler.VirtualTimeScheduler;
import reactor.util.retry.Retry;

/** When a lost connection is made again. */
class ResumeRetryTest {

  private final VirtualTimeScheduler time = VirtualTimeScheduler.create();
  private final Sinks.Empty<Void> stop = Sinks.empty();
  private final List<Long> attempts = new ArrayList<>();
  private final List<String> lost = new ArrayList<>();
  private long acknowledged;
  private Throwable failure = MigrationException.of(Kind.TRANSPORT, "cut");
  private int progressAtAttempt = Integer.MAX_VALUE;

  @AfterEach
  void close() {
    time.dispose();
  }

  private Mono<String> migration(Retry spec) {
    return Mono.<String>defer(
            () -> {
              attempts.add(time.now(TimeUnit.MILLISECONDS));
              if (attempts.size() == progressAtAttempt) {
                acknowledged++;
              }
              return Mono.error(failure);
            })
        .retryWhen(
            new ResumeRetry(
                spec,
                e -> e instanceof MigrationException known && known.kind() == Kind.TRANSPORT,
                () -> acknowledged,
                e -> lost.add(String.valueOf(e.getMessage())),
                stop.asMono()));
  }

  private Retry backoff(int attemptsAtMost) {
    return Retry.backoff(attemptsAtMost, Duration.ofMillis(100))
        .maxBackoff(Duration.ofMillis(400))
        .jitter(0)
        .scheduler(time);
  }

  @Test
  void itBacksOffAndGivesUpWithWhatWentWrongLast() {
    StepVerifier.create(migration(backoff(4)))
        .then(() -> time.advanceTimeBy(Duration.ofSeconds(10)))
        .expectErrorSatisfies(
            e -> {
              assertThat(e)
                  .isInstanceOf(MigrationException.class)
                  .hasMessage("the connection was lost, and could not be made again: cut");
              assertThat(((MigrationException) e).kind()).isEqualTo(Kind.TRANSPORT);
            })
        .verify();
    assertThat(attempts).containsExactly(0L, 100L, 300L, 700L, 1100L);
    assertThat(lost).hasSize(5);
  }

  @Test
  void jitterStaysWithinItsBounds() {
    StepVerifier.create(migration(jittered()))
        .then(() -> time.advanceTimeBy(Duration.ofSeconds(10)))
        .expectError()
        .verify();
    assertThat(attempts.get(1)).isBetween(100L, 150L);
  }

  private Retry jittered() {
    return Retry.backoff(1, Duration.ofMillis(100)).jitter(0.5).scheduler(time);
  }

  @Test
  void aConnectionThatBroughtPagesOverHasAllAttemptsAgain() {
    progressAtAttempt = 3;
    StepVerifier.create(migration(backoff(3)))
        .then(() -> time.advanceTimeBy(Duration.ofSeconds(10)))
        .expectError(MigrationException.class)
        .verify();
    // The third one brought pages over: from it on three more, as quickly as from the first.
    assertThat(attempts).containsExactly(0L, 100L, 300L, 400L, 600L, 1000L);
  }

  @Test
  void whatAnotherConnectionDoesNotMendIsNotTriedAgain() {
    failure = MigrationException.of(Kind.INTEGRITY, "wrong");
    StepVerifier.create(migration(backoff(3))).expectErrorMessage("wrong").verify();
    assertThat(attempts).hasSize(1);
    assertThat(lost).isEmpty();
  }

  @Test
  void whoStopsItWhileItWaitsDoesNotWait() {
    StepVerifier.create(migration(Retry.fixedDelay(3, Duration.ofHours(1))))
        .then(stop::tryEmitEmpty)
        .expectErrorSatisfies(
            e -> assertThat(((MigrationException) e).kind()).isEqualTo(Kind.CANCELLED))
        .verify(Duration.ofSeconds(10));
    assertThat(attempts).hasSize(1);
  }
}
