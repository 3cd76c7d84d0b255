package io.pageflux.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Mono;
import reactor.test.scheduler.VirtualTimeScheduler;

class CheckpointClockTest {

  private static final Duration SECOND = Duration.ofSeconds(1);

  private final VirtualTimeScheduler time = VirtualTimeScheduler.create();

  @AfterEach
  void close() {
    time.dispose();
  }

  private boolean[] await(CheckpointClock clock) {
    boolean[] due = {false};
    Mono<Void> next = clock.next();
    next.subscribe(v -> {}, e -> {}, () -> due[0] = true);
    return due;
  }

  @Test
  void theFirstIsDueAtOnceAndTheOthersAnIntervalApart() {
    CheckpointClock clock = new CheckpointClock(SECOND, time);
    assertThat(await(clock)[0]).isTrue();
    time.advanceTimeBy(Duration.ofMillis(300)); // it takes some time
    boolean[] second = await(clock);
    time.advanceTimeBy(Duration.ofMillis(699));
    assertThat(second[0]).isFalse();
    time.advanceTimeBy(Duration.ofMillis(1));
    assertThat(second[0]).isTrue();
  }

  @Test
  void oneThatIsLateComesAtOnceAndNoneIsMadeUpFor() {
    CheckpointClock clock = new CheckpointClock(SECOND, time);
    await(clock);
    time.advanceTimeBy(Duration.ofMillis(3500));
    assertThat(await(clock)[0]).isTrue();
    boolean[] next = await(clock);
    assertThat(next[0]).isFalse();
    time.advanceTimeBy(SECOND);
    assertThat(next[0]).isTrue();
  }

  @Test
  void whatIsAskedForComesAtOnceAndOnce() {
    for (Duration interval : new Duration[] {null, SECOND}) {
      CheckpointClock clock = new CheckpointClock(interval, time);
      await(clock);
      boolean[] waiting = await(clock);
      assertThat(waiting[0]).isFalse();
      clock.request();
      assertThat(waiting[0]).isTrue();
      clock.request(); // While that one is on its way.
      clock.request();
      assertThat(await(clock)[0]).isTrue();
      assertThat(await(clock)[0]).isFalse();
    }
  }

  @Test
  void withoutAnIntervalNothingIsDueByItself() {
    CheckpointClock clock = new CheckpointClock(null, time);
    await(clock);
    boolean[] waiting = await(clock);
    time.advanceTimeBy(Duration.ofDays(1));
    assertThat(waiting[0]).isFalse();
  }
}
