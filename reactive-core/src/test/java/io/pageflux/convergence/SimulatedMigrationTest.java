package io.pageflux.convergence;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.convergence.ConvergenceControl.Action;
import io.pageflux.convergence.ConvergenceLimits.AtLimit;
import io.pageflux.convergence.ConvergenceStep.Kind;
import java.time.Duration;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Policies over scripted guests and links, in no time. */
class SimulatedMigrationTest {

  private static final double MB = 1e6;

  private static final ConvergenceLimits LIMITS =
      ConvergenceLimits.DEFAULT
          .withMaxRounds(10_000)
          .withTimeout(Duration.ofMinutes(10))
          .withAtLimit(AtLimit.ABORT);

  /** A guest that writes more than the link carries, all over its memory. */
  private static Simulation tooFast(double factor) {
    return Simulation.ofMebibytes(1024).writing(t -> factor * 100 * MB).link(t -> 100 * MB);
  }

  private static void assertEstimated(Simulation.Result result) {
    long expected = result.expectedDowntime().toMillis();
    long real = result.downtime().toMillis();
    assertThat(Math.abs(expected - real))
        .as("%s", result)
        .isLessThanOrEqualTo(Math.max(20, real * 3 / 10));
  }

  @Test
  void aQuietGuestNeedsNoPolicy() {
    for (ConvergencePolicy.Maker policy : all()) {
      Simulation.Result result =
          Simulation.ofMebibytes(1024)
              .writing(t -> 10 * MB)
              .link(t -> 100 * MB)
              .run(policy, LIMITS);
      assertThat(result.action()).isEqualTo(Action.SWITCH_OVER);
      assertThat(result.downtime()).isLessThan(Duration.ofMillis(330));
      assertThat(result.greatestThrottle()).isZero();
      assertEstimated(result);
    }
  }

  private static Simulation.Result slowToPause(SwitchOverCost known) {
    return Simulation.ofMebibytes(512)
        .writing(t -> 40 * MB)
        .link(t -> 100 * MB)
        .pausing(Duration.ofMillis(150), known)
        .run(LimitPolicy::new, LIMITS);
  }

  /** Its pages become ever smaller deltas as the rounds become shorter. */
  private static Simulation.Result ofDeltas(double megabytesPerSecond, boolean triedOut) {
    return Simulation.ofMebibytes(512)
        .hot(64)
        .writing(t -> 60 * MB)
        .link(t -> megabytesPerSecond * MB)
        .wire(1500, 0)
        .deltas(seconds -> Math.min(1500, 100 + 300 * seconds), triedOut)
        .run(LimitPolicy::new, LIMITS);
  }

  @ParameterizedTest
  @ValueSource(doubles = {8, 12, 20, 40, 80})
  void deltasOfPagesThatWereTriedOutAreNotTakenForWholePages(double megabytesPerSecond) {
    Simulation.Result result = ofDeltas(megabytesPerSecond, true);
    assertThat(result.action()).isEqualTo(Action.SWITCH_OVER);
    assertEstimated(result);
    assertThat(result.downtime()).isLessThan(Duration.ofMillis(300 + 20));
    // And where they are not, rounds are sent that nobody needs.
    Simulation.Result blind = ofDeltas(megabytesPerSecond, false);
    assertThat(result.rounds()).isLessThanOrEqualTo(blind.rounds());
  }

  @Test
  void howLongAGuestTakesToBePausedIsLearnedOnce() {
    SwitchOverCost cost = SwitchOverCost.unknown();
    Simulation.Result first = slowToPause(cost);
    assertThat(first.downtime().minus(first.expectedDowntime()))
        .as("nobody can know: %s", first)
        .isGreaterThan(Duration.ofMillis(120));
    Simulation.Result second = slowToPause(cost);
    assertEstimated(second);
    assertThat(second.downtime()).isLessThan(Duration.ofMillis(300 + 20));
  }

  @Test
  void whoKnowsHowLongAGuestTakesToBePausedMaySayItBeforeTheFirstTime() {
    Simulation.Result told = slowToPause(SwitchOverCost.of(Duration.ofMillis(150)));
    assertEstimated(told);
    assertThat(told.downtime()).isLessThan(Duration.ofMillis(300 + 20));
  }

  private static List<ConvergencePolicy.Maker> all() {
    return List.of(
        LimitPolicy::new,
        RampedDowntime::new,
        AutoConverge::new,
        IntentPolicy.of(new Intent.ShortDowntime()),
        IntentPolicy.of(new Intent.ShortMigration()),
        IntentPolicy.of(new Intent.FinishWithin(Duration.ofSeconds(60))));
  }

  @Test
  void withAFixedLimitATooFastGuestIsGivenUpInTheStatedTime() {
    Simulation.Result result =
        tooFast(1.5).run(LimitPolicy::new, LIMITS.withTimeout(Duration.ofSeconds(30)));
    assertThat(result.action()).isEqualTo(Action.ABORT);
    // Not at the end of a round of ten seconds.
    assertThat(result.seconds()).isBetween(30.0, 31.1);
    assertThat(result.reason()).startsWith("30 s are over and the expected downtime is still ");
  }

  @ParameterizedTest
  @ValueSource(doubles = {0.7, 1.0, 1.5, 3, 10, 40})
  void autoConvergeHasATooFastGuestConverge(double factor) {
    Simulation.Result result = tooFast(factor).run(AutoConverge::new, LIMITS);
    assertThat(result.action()).as("%s", result).isEqualTo(Action.SWITCH_OVER);
    assertThat(result.downtime()).isLessThan(Duration.ofMillis(400));
    assertThat(result.greatestThrottle()).isBetween(20, 99);
    assertThat(result.steps(Kind.THROTTLE).getFirst().what()).isEqualTo("guest throttled by 20 %");
    assertEstimated(result);
  }

  @Test
  void autoConvergeDoesNotWaitForTheEndOfALongRound() {
    Simulation.Result result = tooFast(3).run(AutoConverge::new, LIMITS);
    ConvergenceStep first = result.steps(Kind.THROTTLE).getFirst();
    double endOfSecondRound =
        result.asked().stream()
            .filter(figures -> figures.roundEnded() && figures.rounds() == 2)
            .findFirst()
            .orElseThrow()
            .elapsed()
            .toMillis();
    assertThat((double) first.at().toMillis()).isLessThan(endOfSecondRound - 3000);
  }

  @Test
  void aGuestThatCannotBeThrottledIsGivenUpByAutoConverge() {
    Simulation.Result result = tooFast(1.5).unthrottled().run(AutoConverge::new, LIMITS);
    assertThat(result.action()).isEqualTo(Action.ABORT);
    assertThat(result.steps()).extracting(ConvergenceStep::kind).containsExactly(Kind.ABORT);
  }

  @Test
  void aRampLetsAGuestConvergeThatAFixedLimitDoesNot() {
    // What it writes in a round that takes 600 ms needs about 600 ms to be sent.
    Simulation guest = Simulation.ofMebibytes(60).writing(t -> 145 * MB).link(t -> 100 * MB);
    Simulation.Result fixed = guest.run(LimitPolicy::new, LIMITS);
    assertThat(fixed.action()).isEqualTo(Action.ABORT);
    Simulation.Result ramped =
        Simulation.ofMebibytes(60)
            .writing(t -> 145 * MB)
            .link(t -> 100 * MB)
            .run(RampedDowntime::new, LIMITS);
    assertThat(ramped.action()).as("%s", ramped).isEqualTo(Action.SWITCH_OVER);
    assertThat(ramped.downtime()).isLessThan(Duration.ofMillis(1100));
    assertThat(ramped.steps(Kind.DOWNTIME_LIMIT).getFirst().what())
        .isEqualTo("downtime limit of 150 ms instead of 300 ms");
    assertThat(ramped.seconds()).isLessThan(65);
    assertEstimated(ramped);
  }

  @Test
  void theScenarioOfTheProposalBehavesAsItDidThere() {
    // There, means of ten: 92 s instead of 112, 28 rounds instead of 69, 9.7 GiB instead of 11.9,
    // 160 ms more of downtime, and the slowest of ten took 98 s instead of 161.
    Means ramped = Means.of(RampedDowntime::new);
    Means fixed = Means.of(LimitPolicy::new);
    assertThat(fixed.seconds()).isBetween(100.0, 130.0);
    assertThat(ramped.seconds() / fixed.seconds()).isBetween(0.7, 0.88);
    assertThat(ramped.rounds() / fixed.rounds()).isBetween(0.3, 0.65);
    assertThat(ramped.millis() - fixed.millis()).isBetween(50.0, 250.0);
    assertThat(fixed.longest() - ramped.longest()).isGreaterThan(20);
  }

  /** Of ten migrations of the proposal's guest. */
  private record Means(double seconds, double rounds, double millis, double longest) {
    static Means of(ConvergencePolicy.Maker policy) {
      double seconds = 0;
      double rounds = 0;
      double millis = 0;
      double longest = 0;
      for (int seed = 0; seed < 10; seed++) {
        Simulation.Result result = proposal(seed).run(policy, LIMITS);
        assertThat(result.action()).as("seed %d: %s", seed, result).isEqualTo(Action.SWITCH_OVER);
        seconds += result.seconds() / 10;
        rounds += result.rounds() / 10.0;
        millis += result.downtime().toMillis() / 10.0;
        longest = Math.max(longest, result.seconds());
      }
      return new Means(seconds, rounds, millis, longest);
    }
  }

  /**
   * 8 GiB at 1 Gbit/s. How its guest wrote, the proposal does not say, but that the expected
   * downtime went up and down around a plateau above 300 ms: so it is a part of the memory that is
   * rewritten all the time, now slower and now faster.
   */
  private static Simulation proposal(int seed) {
    return Simulation.ofMebibytes(8192)
        .hot(95)
        .writing(t -> (0.83 + 1.14 * at(seed, (int) (t / 0.5))) * 1e9 / 8)
        .link(t -> 1e9 / 8);
  }

  /** {@return a number from 0 to 1 that depends on nothing else} */
  private static double at(int seed, int moment) {
    return new SplittableRandom(seed * 1_000_003L + moment).nextDouble();
  }

  @ParameterizedTest
  @CsvSource({"1.5, 300", "3, 300", "10, 300", "1.5, 50", "0.9, 50"})
  void theIntentOfAShortDowntimeKeepsTheLimit(double factor, long limit) {
    Simulation.Result result =
        tooFast(factor)
            .run(
                IntentPolicy.of(new Intent.ShortDowntime()),
                LIMITS.withDowntimeLimit(Duration.ofMillis(limit + 60)));
    assertThat(result.action()).as("%s", result).isEqualTo(Action.SWITCH_OVER);
    assertThat(result.steps(Kind.DOWNTIME_LIMIT)).isEmpty();
    assertThat(result.downtime()).isLessThan(Duration.ofMillis(limit + 120));
    assertEstimated(result);
  }

  @Test
  void theIntentOfAShortMigrationRaisesTheLimitFirst() {
    Simulation.Result result =
        tooFast(1.5).run(IntentPolicy.of(new Intent.ShortMigration()), LIMITS);
    assertThat(result.action()).as("%s", result).isEqualTo(Action.SWITCH_OVER);
    assertThat(result.downtime()).isLessThan(Duration.ofMillis(1150));
    assertThat(result.steps(Kind.DOWNTIME_LIMIT).getLast().at())
        .isLessThan(result.steps(Kind.THROTTLE).getFirst().at());
  }

  @ParameterizedTest
  @CsvSource({"0.5, 30", "1.5, 30", "1.5, 60", "10, 30", "10, 60", "40, 25"})
  void whatMustFinishInTimeDoes(double factor, long seconds) {
    Duration time = Duration.ofSeconds(seconds);
    Simulation.Result result =
        tooFast(factor).run(IntentPolicy.of(new Intent.FinishWithin(time)), LIMITS);
    assertThat(result.action()).as("%s", result).isEqualTo(Action.SWITCH_OVER);
    assertThat(result.seconds() + result.downtime().toMillis() / 1e3).isLessThan(seconds);
  }

  @Test
  void whatMustFinishInTimeFinishesWithoutAThrottleToo() {
    Simulation.Result result =
        tooFast(1.5)
            .unthrottled()
            .run(IntentPolicy.of(new Intent.FinishWithin(Duration.ofSeconds(40))), LIMITS);
    assertThat(result.action()).isEqualTo(Action.SWITCH_OVER);
    assertThat(result.seconds() + result.downtime().toMillis() / 1e3).isLessThan(40);
  }

  @Test
  void whatCannotFinishInTimeIsGivenUpInTimeOrSwitchesAtTheNextEnd() {
    ConvergencePolicy.Maker policy =
        IntentPolicy.of(new Intent.FinishWithin(Duration.ofSeconds(20)));
    Simulation.Result given =
        Simulation.ofMebibytes(4096).link(t -> t < 5 ? 100 * MB : MB).run(policy, LIMITS);
    assertThat(given.action()).isEqualTo(Action.ABORT);
    assertThat(given.seconds()).isBetween(20.0, 21.1);
    assertThat(given.reason()).contains("20 s are over, and of round 1 about");
    Simulation.Result forced =
        Simulation.ofMebibytes(4096)
            .writing(t -> 100 * MB)
            .link(t -> 100 * MB)
            .run(policy, LIMITS.withAtLimit(AtLimit.SWITCH_OVER));
    assertThat(forced.action()).isEqualTo(Action.SWITCH_OVER);
    assertThat(forced.rounds()).isEqualTo(1);
  }

  @Test
  void aGuestWhoseWritingComesAndGoesIsCaughtInAQuietMoment() {
    for (ConvergencePolicy.Maker policy : all()) {
      Simulation.Result result =
          Simulation.ofMebibytes(512)
              .writing(t -> t % 20 < 15 ? 150 * MB : 1 * MB)
              .link(t -> 100 * MB)
              .run(policy, LIMITS);
      assertThat(result.action()).as("%s", result).isEqualTo(Action.SWITCH_OVER);
    }
  }

  @Test
  void anOscillatingRemainderIsAStallAllTheSame() {
    // Never quiet for long enough, and never the same.
    Simulation.Result result =
        Simulation.ofMebibytes(512)
            .writing(t -> (150 + 100 * Math.sin(t)) * MB)
            .link(t -> 100 * MB)
            .run(IntentPolicy.of(new Intent.ShortDowntime()), LIMITS);
    assertThat(result.action()).as("%s", result).isEqualTo(Action.SWITCH_OVER);
    assertThat(result.greatestThrottle()).isGreaterThanOrEqualTo(20);
    int most = 0;
    for (ConvergenceFigures figures : result.asked()) {
      most = Math.max(most, figures.stall().rounds());
    }
    assertThat(most).isGreaterThanOrEqualTo(2);
  }

  private static Simulation oscillating(double phase) {
    return Simulation.ofMebibytes(64)
        .writing(t -> (220 + 180 * Math.sin(2 * Math.PI * (t / 2.5 + phase))) * MB)
        .link(t -> 100 * MB)
        .unthrottled();
  }

  @ParameterizedTest
  @ValueSource(doubles = {0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9})
  void aGuestThatIsPausedByForceIsNotPausedAtAPeak(double phase) {
    ConvergenceLimits forcing = LIMITS.withMaxRounds(40).withAtLimit(AtLimit.SWITCH_OVER);
    for (ConvergencePolicy.Maker policy :
        List.<ConvergencePolicy.Maker>of(
            limits -> new LimitPolicy(limits.withDowntimeLimit(Duration.ofMillis(100))),
            AutoConverge::new,
            IntentPolicy.of(new Intent.ShortDowntime()),
            IntentPolicy.of(new Intent.FinishWithin(Duration.ofSeconds(20))))) {
      Simulation.Result result =
          oscillating(phase).run(policy, forcing.withDowntimeLimit(Duration.ofMillis(100)));
      assertThat(result.action()).as("%s", result).isEqualTo(Action.SWITCH_OVER);
      assertThat(result.rounds()).isLessThanOrEqualTo(48);
      assertThat(result.seconds() + result.downtime().toMillis() / 1e3).isLessThan(25);
      assertNotAtAPeak(result);
    }
  }

  /** No more than a tenth above the best of the last rounds. */
  private static void assertNotAtAPeak(Simulation.Result result) {
    assertThat(result.downtime().toMillis())
        .as("%s; %s", result, result.downtimes())
        .isLessThanOrEqualTo((long) (1.1 * result.leastOfLate(8).toMillis()));
  }

  @ParameterizedTest
  @ValueSource(doubles = {0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9})
  void postCopyDoesNotBeginAtAPeak(double phase) {
    for (ConvergencePolicy.Maker policy :
        List.of(
            PostcopyPolicy.after(LimitPolicy::new, 12, Duration.ofMinutes(1)),
            PostcopyPolicy.after(LimitPolicy::new, 99, Duration.ofSeconds(12)),
            PostcopyPolicy.after(LimitPolicy::new, 99, Duration.ofMinutes(1)))) {
      Simulation.Result result =
          oscillating(phase)
              .postcopy()
              .run(policy, LIMITS.withDowntimeLimit(Duration.ofMillis(100)));
      assertThat(result.action()).as("%s", result).isEqualTo(Action.START_POSTCOPY);
      assertThat(result.seconds()).isLessThan(15);
      assertNotAtAPeak(result);
    }
  }

  /** A link whose rate is another one every 3 s. */
  private static Simulation overAChangingLink(int seed) {
    return Simulation.ofMebibytes(256)
        .writing(t -> 80 * MB)
        .link(t -> (20 + 100 * at(seed, (int) (t / 3))) * MB)
        .postcopy();
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4, 5})
  void overALinkThatComesAndGoesPostCopyBeginsInTimeOrIsNotNeeded(int seed) {
    for (ConvergencePolicy.Maker first : all()) {
      Simulation.Result result =
          overAChangingLink(seed)
              .run(PostcopyPolicy.after(first, 6, Duration.ofSeconds(30)), LIMITS);
      assertThat(result.action())
          .as("seed %d: %s", seed, result)
          .isIn(Action.START_POSTCOPY, Action.SWITCH_OVER);
      assertThat(result.seconds()).isLessThan(36.2);
      if (result.action() == Action.SWITCH_OVER) {
        assertThat(result.expectedDowntime())
            .isLessThanOrEqualTo(result.asked().getLast().downtime().limit());
      }
    }
  }

  @Test
  void aLimitThatIsRaisedMeanwhileMakesPostCopyNeedless() {
    ConvergencePolicy.Maker policy =
        PostcopyPolicy.after(LimitPolicy::new, 99, Duration.ofSeconds(30));
    Simulation.Result low = overAChangingLink(1).run(policy, LIMITS);
    assertThat(low.action()).as("%s", low).isEqualTo(Action.START_POSTCOPY);
    double before = low.seconds() / 2;
    Simulation.Result raised =
        overAChangingLink(1).limitAt(before, Duration.ofSeconds(20)).run(policy, LIMITS);
    assertThat(raised.action()).as("%s", raised).isEqualTo(Action.SWITCH_OVER);
    assertThat(raised.steps(Kind.DOWNTIME_LIMIT))
        .singleElement()
        .satisfies(step -> assertThat(step.why()).isEqualTo("it was set"));
    // Its time goes on: it is the policy that begins anew, not the migration.
    Simulation.Result lowered =
        overAChangingLink(1).limitAt(before, Duration.ofMillis(10)).run(policy, LIMITS);
    assertThat(lowered.action()).isEqualTo(Action.START_POSTCOPY);
    assertThat(lowered.seconds()).isLessThanOrEqualTo(low.seconds() + 3);
  }

  @Test
  void aLinkThatCollapsesIsNoticedBeforeTheRoundEnds() {
    Simulation.Result result =
        Simulation.ofMebibytes(1024)
            .writing(t -> 20 * MB)
            .link(t -> t < 8 ? 100 * MB : 2 * MB)
            .run(LimitPolicy::new, LIMITS.withTimeout(Duration.ofSeconds(60)));
    assertThat(result.action()).isEqualTo(Action.ABORT);
    assertThat(result.seconds()).isBetween(60.0, 61.1);
    ConvergenceFigures last = result.asked().getLast();
    assertThat(last.rates().bytesPerSecond()).isBetween(1.8 * MB, 2.3 * MB);
    assertThat(last.downtime().expected()).isGreaterThan(Duration.ofSeconds(60));
  }

  @Test
  void aLinkThatStandsStillIsKnownAsOneThatCarriesNothing() {
    Simulation.Result result =
        Simulation.ofMebibytes(1024)
            .link(t -> t < 5 ? 100 * MB : 0)
            .run(LimitPolicy::new, LIMITS.withTimeout(Duration.ofSeconds(30)));
    assertThat(result.action()).isEqualTo(Action.ABORT);
    assertThat(result.asked().getLast().rates().bytesPerSecond()).isLessThan(MB);
  }

  @Test
  void aLinkThatRecoversIsMadeUseOf() {
    Simulation.Result result =
        Simulation.ofMebibytes(1024)
            .writing(t -> 20 * MB)
            .link(t -> t > 8 && t < 60 ? 5 * MB : 100 * MB)
            .run(IntentPolicy.of(new Intent.ShortDowntime()), LIMITS);
    assertThat(result.action()).as("%s", result).isEqualTo(Action.SWITCH_OVER);
    assertThat(result.downtime()).isLessThan(Duration.ofMillis(400));
  }

  @Test
  void pagesThatShrinkOnTheWireNeedNoThrottle() {
    // 150 MB/s of pages are 11 MB/s of deltas: QEMU's rule would count them as 150 MB/s.
    Simulation.Result result =
        Simulation.ofMebibytes(1024)
            .wire(4096, 300)
            .writing(t -> 150 * MB)
            .link(t -> 100 * MB)
            .run(AutoConverge::new, LIMITS);
    assertThat(result.action()).isEqualTo(Action.SWITCH_OVER);
    assertThat(result.greatestThrottle()).isLessThanOrEqualTo(20);
    assertEstimated(result);
  }

  @Test
  void zeroPagesDoNotMakeTheRestLookCheap() {
    Simulation.Result result =
        Simulation.ofMebibytes(1024)
            .zero(0.8)
            .writing(t -> 60 * MB)
            .link(t -> 100 * MB)
            .run(LimitPolicy::new, LIMITS);
    assertThat(result.action()).isEqualTo(Action.SWITCH_OVER);
    assertEstimated(result);
  }

  @Test
  void ofAGuestThatIsMostlyZeroLittleRemainsAlsoInTheFirstRound() {
    Simulation.Result result =
        Simulation.ofMebibytes(4096).zero(0.8).link(t -> 100 * MB).run(LimitPolicy::new, LIMITS);
    ConvergenceFigures second =
        result.asked().stream()
            .filter(f -> f.rounds() == 0 && f.elapsed().toSeconds() == 2)
            .findFirst()
            .orElseThrow();
    // All of it takes 8.6 s.
    assertThat(second.sendingTime().toMillis()).isBetween(6_000L, 7_500L);
  }

  @Test
  void whateverGuestAndLinkDoThereIsAnEndAndAThrottleInRange() {
    long seed = System.nanoTime();
    SplittableRandom random = new SplittableRandom(seed);
    for (int i = 0; i < 60; i++) {
      double period = 1 + random.nextDouble() * 30;
      double dirty = random.nextDouble() * 300 * MB;
      double link = (5 + random.nextDouble() * 200) * MB;
      double dip = random.nextDouble();
      for (ConvergencePolicy.Maker policy : all()) {
        Simulation.Result result =
            Simulation.ofMebibytes(1 + random.nextInt(500))
                .writing(t -> t % period < period / 2 ? dirty : dirty / 5)
                .link(t -> t % 37 < 5 ? link * dip : link)
                .run(policy, LIMITS.withTimeout(Duration.ofMinutes(2)));
        String what = "seed " + seed + ", attempt " + i + ": " + result;
        assertThat(result.seconds()).as(what).isLessThan(122);
        assertThat(result.greatestThrottle()).as(what).isBetween(0, 99);
        assertThat(result.steps()).as(what).hasSizeLessThan(60);
      }
    }
  }
}
