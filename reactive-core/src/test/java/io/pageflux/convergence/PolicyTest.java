package io.pageflux.convergence;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.pageflux.convergence.AutoConverge.Settings;
import io.pageflux.convergence.ConvergenceControl.Action;
import io.pageflux.convergence.ConvergenceDecision.Abort;
import io.pageflux.convergence.ConvergenceDecision.SetDowntimeLimit;
import io.pageflux.convergence.ConvergenceDecision.StartPostcopy;
import io.pageflux.convergence.ConvergenceDecision.SwitchOver;
import io.pageflux.convergence.ConvergenceDecision.Throttle;
import io.pageflux.convergence.ConvergenceDecision.Wait;
import io.pageflux.convergence.ConvergenceLimits.AtLimit;
import io.pageflux.convergence.ConvergenceStep.Kind;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

class PolicyTest {

  private static final ConvergenceLimits LIMITS =
      new ConvergenceLimits(Duration.ofMillis(100), 5, Duration.ofSeconds(60), AtLimit.ABORT);
  private static final ConvergenceLimits SWITCHING = LIMITS.withAtLimit(AtLimit.SWITCH_OVER);

  private static PolicyFigures round(int round) {
    return PolicyFigures.afterRound(round);
  }

  // The fixed limit.

  @Test
  void theGuestIsPausedWhenTheExpectedDowntimeIsWithinTheLimit() {
    LimitPolicy policy = new LimitPolicy(LIMITS);
    assertThat(policy.decide(round(1).expecting(101).with(100))).isInstanceOf(Wait.class);
    assertThat(policy.decide(round(1).expecting(100).with(100)))
        .isEqualTo(new SwitchOver("the expected downtime of 100 ms is within the limit of 100 ms"));
    assertThat(policy.decide(round(1).remaining(0).with(100)))
        .isEqualTo(new SwitchOver("no page is dirty"));
  }

  @Test
  void theLastRoundAllowedAndTheTimeoutAreTheLimits() {
    assertThat(new LimitPolicy(LIMITS).decide(round(5).expecting(1500).with(100)))
        .isEqualTo(
            new Abort(
                "5 rounds have been sent and the expected downtime is still 1.5 s,"
                    + " above the limit of 100 ms"));
    assertThat(new LimitPolicy(SWITCHING).decide(round(5).with(100)))
        .isInstanceOf(SwitchOver.class);
    assertThat(new LimitPolicy(LIMITS).decide(round(2).at(60_000).with(100)))
        .isInstanceOf(Abort.class);
    assertThat(new LimitPolicy(SWITCHING).decide(round(2).at(60_000).with(100)))
        .isInstanceOf(SwitchOver.class);
  }

  @Test
  void withinARoundTheTimeoutAbortsAtOnceAndNothingSwitches() {
    assertThat(new LimitPolicy(LIMITS).decide(round(2).inRound().at(60_000).with(100)))
        .isInstanceOf(Abort.class);
    assertThat(new LimitPolicy(LIMITS).decide(round(2).inRound().expecting(1).with(100)))
        .isInstanceOf(Wait.class);
    ConvergenceControl control = new ConvergenceControl(LimitPolicy::new, SWITCHING);
    assertThat(control.decide(round(2).inRound().at(60_000).with(100)).action())
        .isEqualTo(Action.GO_ON);
    assertThat(control.decide(round(3).at(60_001).with(100)).action())
        .isEqualTo(Action.SWITCH_OVER);
  }

  @Test
  void whatIsForcedWaitsForARoundThatLeavesLittle() {
    LimitPolicy policy = new LimitPolicy(SWITCHING);
    assertThat(policy.decide(round(5).stalled(1, false).with(100))).isInstanceOf(Wait.class);
    assertThat(policy.decide(round(5).at(5400).inRound().stalled(1, true).with(100)))
        .as("a round under way")
        .isInstanceOf(Wait.class);
    assertThat(policy.decide(round(6).at(5450).stalled(2, true).with(100)))
        .isInstanceOf(SwitchOver.class);
  }

  @Test
  void whatIsForcedWaitsForEightRoundsAndATenthOfItsTimeAtTheMost() {
    LimitPolicy rounds = new LimitPolicy(SWITCHING);
    for (int round = 5; round < 13; round++) {
      assertThat(rounds.decide(round(round).at(5000 + round).stalled(9, false).with(100)))
          .isInstanceOf(Wait.class);
    }
    assertThat(rounds.decide(round(13).at(5013).stalled(9, false).with(100)))
        .isInstanceOf(SwitchOver.class);
    LimitPolicy time = new LimitPolicy(SWITCHING);
    assertThat(time.decide(round(2).at(60_000).stalled(1, false).with(100)))
        .isInstanceOf(Wait.class);
    assertThat(time.decide(round(3).at(65_999).stalled(2, false).with(100)))
        .isInstanceOf(Wait.class);
    assertThat(time.decide(round(4).at(66_000).stalled(3, false).with(100)))
        .isInstanceOf(SwitchOver.class);
  }

  @Test
  void whatIsGivenUpIsGivenUpAtOnce() {
    assertThat(new LimitPolicy(LIMITS).decide(round(5).stalled(1, false).with(100)))
        .isInstanceOf(Abort.class);
  }

  // Post-copy.

  private static ConvergencePolicy postcopy(int rounds, Duration time) {
    return PostcopyPolicy.after(LimitPolicy::new, rounds, time)
        .make(LIMITS.withMaxRounds(99).withTimeout(Duration.ofMinutes(5)));
  }

  private static final Duration MINUTE = Duration.ofMinutes(1);

  @Test
  void preCopyIsLeftForPostCopyWhenItsRoundsAreOver() {
    ConvergencePolicy policy = postcopy(3, MINUTE);
    assertThat(policy.decide(round(2).with(100))).isInstanceOf(Wait.class);
    assertThat(policy.decide(round(3).inRound().with(100))).isInstanceOf(Wait.class);
    assertThat(policy.decide(round(3).with(100)))
        .isEqualTo(new StartPostcopy("3 round(s) of pre-copy sent"));
  }

  @Test
  void preCopyIsLeftForPostCopyWhenItsTimeIsOverAlsoInItsFirstRound() {
    ConvergencePolicy policy = postcopy(3, MINUTE);
    assertThat(policy.decide(round(0).inRound().at(59_999).with(100))).isInstanceOf(Wait.class);
    assertThat(policy.decide(round(0).inRound().at(60_000).with(100)))
        .isEqualTo(new StartPostcopy("60 s of pre-copy are over"));
  }

  @Test
  void preCopyIsLeftForPostCopyWhenItBringsNoProgress() {
    ConvergencePolicy policy = postcopy(30, MINUTE);
    assertThat(policy.decide(round(4).stalled(1, true).with(100))).isInstanceOf(Wait.class);
    assertThat(policy.decide(round(5).stalled(2, true).with(100)))
        .isEqualTo(new StartPostcopy("2 rounds have brought no progress"));
  }

  @Test
  void postCopyBeginsWhenARoundLeavesLittleAndNotMuchLater() {
    ConvergencePolicy policy = postcopy(3, MINUTE);
    assertThat(policy.decide(round(3).stalled(1, false).with(100))).isInstanceOf(Wait.class);
    assertThat(policy.decide(round(4).at(3100).stalled(0, true).with(100)))
        .isInstanceOf(StartPostcopy.class);
    ConvergencePolicy timed = postcopy(99, MINUTE);
    assertThat(timed.decide(round(9).inRound().at(60_000).with(100))).isInstanceOf(Wait.class);
    assertThat(timed.decide(round(9).inRound().at(66_000).with(100)))
        .as("at last within a round")
        .isInstanceOf(StartPostcopy.class);
  }

  @Test
  void theEndOfAnotherPolicyComesBeforePostCopyAndItsThrottleDoesNot() {
    assertThat(postcopy(1, MINUTE).decide(round(1).expecting(100).with(100)))
        .isInstanceOf(SwitchOver.class);
    assertThat(
            PostcopyPolicy.after(LimitPolicy::new, 5, MINUTE)
                .make(LIMITS)
                .decide(round(5).with(100)))
        .isInstanceOf(Abort.class);
    ConvergencePolicy throttling =
        PostcopyPolicy.after(limits -> figures -> new Throttle(20, "too fast"), 2, MINUTE)
            .make(LIMITS);
    assertThat(throttling.decide(round(1).with(100))).isInstanceOf(Throttle.class);
    assertThat(throttling.decide(round(2).with(100))).isInstanceOf(StartPostcopy.class);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> PostcopyPolicy.after(LimitPolicy::new, -1, MINUTE));
  }

  @Test
  void postCopyThatIsNotPossibleIsRefusedOnceAndTheRestGoesOn() {
    ConvergenceControl control =
        new ConvergenceControl(PostcopyPolicy.after(LimitPolicy::new, 1, MINUTE), LIMITS);
    assertThat(control.decide(round(1).with(100)).steps())
        .extracting(ConvergenceStep::kind)
        .containsExactly(Kind.POSTCOPY_REFUSED);
    assertThat(control.decide(round(2).with(100)).steps()).isEmpty();
    assertThat(control.decide(round(3).expecting(1).with(100)).action())
        .isEqualTo(Action.SWITCH_OVER);
  }

  @Test
  void anotherLimitBeginsThePolicyOfThePreCopyAnewButNotItsRoundsAndTime() {
    ConvergenceControl control =
        new ConvergenceControl(
            PostcopyPolicy.after(RampedDowntime::new, 4, MINUTE), LIMITS.withMaxRounds(99));
    control.allowPostcopy();
    control.decide(round(1).with(0));
    assertThat(control.downtimeLimit()).hasMillis(150);
    assertThat(control.give(Duration.ofMillis(80), Duration.ofSeconds(1)))
        .extracting(ConvergenceStep::kind)
        .containsExactly(Kind.DOWNTIME_LIMIT);
    assertThat(control.decide(round(3).with(0)).action()).isEqualTo(Action.GO_ON);
    assertThat(control.decide(round(4).with(0)).action()).isEqualTo(Action.START_POSTCOPY);
  }

  // The ramp.

  @Test
  void theRampHasTheFiguresOfTheProposal() {
    ConvergenceControl control =
        new ConvergenceControl(
            RampedDowntime::new, LIMITS.withMaxRounds(99).withTimeout(Duration.ofMinutes(5)));
    List<String> steps = new ArrayList<>();
    for (int half = 1; half < 200; half++) {
      control
          .decide(round(Math.min(half, 98)).at(half * 500L).expecting(2000).with(0))
          .steps()
          .forEach(
              step -> steps.add(step.at().toMillis() + " " + control.downtimeLimit().toMillis()));
    }
    assertThat(steps)
        .containsExactly(
            "500 150",
            "11500 300",
            "21500 450",
            "31500 600",
            "41500 750",
            "51500 900",
            "61500 1050");
  }

  @Test
  void aStepThatIsEnoughSwitchesAtOnce() {
    ConvergenceControl control = new ConvergenceControl(RampedDowntime::new, LIMITS);
    control.decide(round(1).expecting(250).with(0));
    assertThat(control.downtimeLimit()).hasMillis(150);
    assertThat(control.decide(round(3).expecting(250).with(0)).steps()).isEmpty();
    ConvergenceControl.Outcome outcome = control.decide(round(4).at(13_000).expecting(250).with(0));
    assertThat(outcome.action()).isEqualTo(Action.SWITCH_OVER);
    assertThat(outcome.steps())
        .extracting(ConvergenceStep::kind)
        .containsExactly(Kind.DOWNTIME_LIMIT, Kind.SWITCH_OVER);
  }

  // Auto-converge.

  private static List<Integer> throttles(Settings settings, long... dirtied) {
    AutoConverge policy = new AutoConverge(LIMITS.withMaxRounds(1000), settings);
    List<Integer> throttles = new ArrayList<>();
    int percent = 0;
    for (int i = 0; i < dirtied.length; i++) {
      ConvergenceFigures figures =
          round(2).inRound().throttled(percent, true).period(i + 1, dirtied[i], 1000).with(100);
      if (policy.decide(figures) instanceof Throttle throttle) {
        percent = throttle.percent();
      }
      // Asked again within the same period, it does not count it again.
      assertThat(policy.decide(figures)).isInstanceOf(Wait.class);
      throttles.add(percent);
    }
    return throttles;
  }

  @Test
  void theSecondBadPeriodThrottlesAndAGoodOneDoesNotTakeABadOneBack() {
    assertThat(throttles(Settings.DEFAULT, 501, 501, 501, 501, 500, 501, 0, 501))
        .containsExactly(0, 20, 20, 30, 30, 30, 30, 40);
    assertThat(throttles(Settings.DEFAULT, 500, 500, 500)).containsExactly(0, 0, 0);
  }

  @Test
  void theThrottleGoesUpTo99AndStaysThere() {
    long[] bad = new long[24];
    java.util.Arrays.fill(bad, 5000);
    assertThat(throttles(Settings.DEFAULT, bad).subList(15, 24))
        .containsExactly(90, 90, 99, 99, 99, 99, 99, 99, 99);
  }

  @Test
  void nearItsGoalASlowTailTakesSmallerSteps() {
    Settings slow = Settings.DEFAULT.withTailslow(true);
    // At 20 %, 5 % above the threshold: 80 - 80 / 1.05 = 3.8.
    assertThat(throttles(slow, 5000, 5000, 525, 525)).containsExactly(0, 20, 20, 23);
    assertThat(throttles(slow, 5000, 5000, 5000, 5000)).containsExactly(0, 20, 20, 30);
  }

  @Test
  void otherSettingsHoldFromTheNextPeriodOnAndDoNotForgetABadOne() {
    ConvergenceControl control =
        new ConvergenceControl(AutoConverge.by(Settings.DEFAULT), LIMITS.withMaxRounds(1000));
    assertThat(control.decide(bad(1)).throttlePercent()).isEqualTo(-1);
    control.use(new Settings(50, 35, 10, 99, false));
    assertThat(control.decide(bad(2)).throttlePercent()).isEqualTo(35);
  }

  private static ConvergenceFigures bad(int period) {
    return round(2).inRound().throttled(0, true).period(period, 900, 1000).with(100);
  }

  @Test
  void theFirstThrottleIsNotAboveTheGreatest() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Settings(50, 40, 10, 39, false))
        .withMessage("initial <= max required but they were 40 and 39");
  }

  @Test
  void aGuestThatCannotBeThrottledIsNotAskedTo() {
    AutoConverge policy = new AutoConverge(LIMITS);
    for (int i = 1; i < 10; i++) {
      assertThat(policy.decide(round(2).throttled(0, false).period(i, 9, 1).with(100)))
          .isInstanceOf(Wait.class);
    }
  }

  @Test
  void nonsenseIsRefused() {
    assertThatIllegalArgumentException().isThrownBy(() -> new Throttle(100, "x"));
    assertThatIllegalArgumentException().isThrownBy(() -> new Throttle(-1, "x"));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new SetDowntimeLimit(Duration.ofMillis(-1), "x"));
    assertThatIllegalArgumentException().isThrownBy(() -> new Settings(0, 20, 10, 99, false));
    assertThatIllegalArgumentException().isThrownBy(() -> new Settings(50, 20, 10, 100, false));
    assertThatIllegalArgumentException().isThrownBy(() -> new Intent.FinishWithin(Duration.ZERO));
    assertThatIllegalArgumentException().isThrownBy(() -> LIMITS.withMaxRounds(0));
    assertThatIllegalArgumentException().isThrownBy(() -> LIMITS.withTimeout(Duration.ZERO));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> LIMITS.withDowntimeLimit(Duration.ofNanos(-1)));
  }

  // Policies that are broken.

  @Test
  void aPolicyThatThrowsIsNotAskedAgainAndTheLimitsHold() {
    AtomicInteger asked = new AtomicInteger();
    ConvergenceControl control =
        new ConvergenceControl(
            limits ->
                figures -> {
                  asked.incrementAndGet();
                  throw new IllegalStateException("out of ideas");
                },
            SWITCHING);
    ConvergenceControl.Outcome first = control.decide(round(1).with(100));
    assertThat(first.action()).isEqualTo(Action.GO_ON);
    assertThat(first.steps())
        .singleElement()
        .satisfies(
            step -> {
              assertThat(step.kind()).isEqualTo(Kind.POLICY_FAILED);
              assertThat(step.why()).isEqualTo("it failed: out of ideas");
            });
    assertThat(control.decide(round(2).with(100)).steps()).isEmpty();
    // It was to switch over at the limits; by a broken policy nobody is paused for long.
    assertThat(control.decide(round(5).with(100)).action()).isEqualTo(Action.ABORT);
    assertThat(asked).hasValue(1);
  }

  @Test
  void aBrokenPolicyDoesNotKeepAGuestFromConverging() {
    ConvergenceControl control = new ConvergenceControl(limits -> figures -> nothing(), SWITCHING);
    ConvergenceControl.Outcome outcome = control.decide(round(1).expecting(1).with(100));
    assertThat(outcome.action()).isEqualTo(Action.SWITCH_OVER);
    assertThat(outcome.steps().getFirst().why()).contains("null");
  }

  @SuppressWarnings("NullAway") // What somebody may do who does not know of null-marked code.
  private static ConvergenceDecision nothing() {
    return null;
  }

  @Test
  void aPolicyThatOnlyEverChangesTheLimitDoesNotHoldTheMigrationUp() {
    AtomicInteger limit = new AtomicInteger();
    ConvergenceControl control =
        new ConvergenceControl(
            limits ->
                figures ->
                    new SetDowntimeLimit(Duration.ofMillis(limit.incrementAndGet()), "restless"),
            LIMITS);
    assertThat(control.decide(round(1).with(100)).action()).isEqualTo(Action.GO_ON);
    assertThat(limit.get()).isLessThan(20);
  }
}
