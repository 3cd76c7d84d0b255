package io.pageflux.convergence;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.convergence.ConvergenceFigures.Throttle;
import io.pageflux.convergence.ConvergenceMeter.Counters;
import java.time.Duration;
import org.junit.jupiter.api.Test;

class ConvergenceMeterTest {

  private static final long MILLI = 1_000_000;
  private static final Throttle NONE = new Throttle(0, false);

  private final SwitchOverCost switchOver = SwitchOverCost.of(Duration.ZERO);
  private final ConvergenceMeter meter = new ConvergenceMeter(4096, switchOver);

  private ConvergenceFigures figures(long nowMillis) {
    return meter.figures(Duration.ofMillis(300), NONE, nowMillis * MILLI);
  }

  /** 1,000 pages, whole, in a second. */
  private void firstRound() {
    meter.began(0);
    meter.roundBegan(1000, Counters.NONE, 0);
    meter.roundAcknowledged(
        new Counters(1000, 4_096_000, 1000, 1000, 4_096_000), 10 * MILLI, 1000 * MILLI);
  }

  @Test
  void theDowntimeIsTheRestAtTheRateOfLateAndWhatASwitchOverCosts() {
    firstRound();
    meter.collected(100, 100, 4 * MILLI, 1000 * MILLI);
    ConvergenceFigures figures = figures(1000);
    assertThat(figures.remainingPages()).isEqualTo(100);
    assertThat(figures.remainingBytes()).isEqualTo(409_600);
    assertThat(figures.downtime().fixed()).hasMillis(4 + 3 * 10);
    assertThat(figures.sendingTime().toMillis()).isBetween(98L, 101L);
    assertThat(figures.roundEnded()).isTrue();
  }

  @Test
  void whatASwitchOverCostsIsInTheDowntimeAsSoonAsItIsLearned() {
    firstRound();
    meter.collected(100, 100, 4 * MILLI, 1000 * MILLI);
    Duration before = figures(1000).downtime().expected();
    switchOver.learn(SwitchOverCost.Part.PAUSE, Duration.ofMillis(150));
    ConvergenceFigures.Downtime after = figures(1000).downtime();
    assertThat(after.fixed()).hasMillis(4 + 3 * 10 + 150);
    assertThat(after.expected().minus(before)).hasMillis(150);
  }

  @Test
  void whatASocketHasSwallowedIsNoGoodput() {
    meter.began(0);
    meter.roundBegan(1000, Counters.NONE, 0);
    meter.observe(new Counters(10, 40_960, 900, 900, 3_686_400), 1000 * MILLI, 1000 * MILLI);
    ConvergenceFigures figures = figures(1000);
    assertThat(figures.rates().bytesPerSecond()).isEqualTo(40_960);
    assertThat(figures.remainingPages()).isEqualTo(990);
    assertThat(figures.downtime().expected()).isGreaterThan(Duration.ofSeconds(90));
    assertThat(figures.roundEnded()).isFalse();
  }

  @Test
  void aDestinationThatSaysNothingForTwoSecondsHasGotNothing() {
    meter.began(0);
    meter.roundBegan(100_000, Counters.NONE, 0);
    Counters heard = new Counters(1000, 4_096_000, 1000, 1000, 4_096_000);
    meter.observe(heard, 1000 * MILLI, 1000 * MILLI);
    meter.observe(heard, 1000 * MILLI, 2000 * MILLI);
    assertThat(figures(2000).rates().bytesPerSecond()).isEqualTo(4_096_000);
    meter.observe(heard, 1000 * MILLI, 3000 * MILLI);
    assertThat(figures(3000).rates().bytesPerSecond()).isLessThan(1_500_000);
  }

  @Test
  void whatPagesBecameLatelyIsNotWhatTheyBecameInTheFirstRound() {
    firstRound();
    meter.collected(500, 500, 0, 1000 * MILLI);
    meter.roundBegan(500, new Counters(1000, 4_096_000, 1000, 1000, 4_096_000), 1000 * MILLI);
    meter.roundAcknowledged(
        new Counters(1500, 4_146_000, 1500, 1500, 4_146_000), 10 * MILLI, 1020 * MILLI);
    assertThat(figures(1020).rates().wireBytesPerPage()).isEqualTo(100);
  }

  @Test
  void wherePagesShrinkToNothingItIsPagesThatTakeTheTime() {
    firstRound();
    meter.collected(5000, 5000, 0, 1000 * MILLI);
    Counters before = new Counters(1000, 4_096_000, 1000, 1000, 4_096_000);
    meter.roundBegan(5000, before, 1000 * MILLI);
    // No page of 5,000 had changed, and half a second went by.
    meter.roundAcknowledged(
        new Counters(6000, 4_096_000, 6000, 6000, 4_096_000), 10 * MILLI, 1500 * MILLI);
    meter.collected(5000, 5000, 0, 1500 * MILLI);
    assertThat(figures(1500).sendingTime().toMillis()).isBetween(450L, 550L);
  }

  @Test
  void anAnswerThatNothingWasOnItsWayBeforeIsTheBestOne() {
    meter.answered(2 * MILLI);
    meter.answered(5 * MILLI);
    firstRound();
    meter.collected(100, 100, 4 * MILLI, 1000 * MILLI);
    assertThat(figures(1000).downtime().fixed()).hasMillis(4 + 3 * 2);
  }

  @Test
  void aRoundThatTheLinkHeldUpDoesNotSayHowLongPagesTake() {
    firstRound();
    meter.collected(1000, 1000, 0, 1000 * MILLI);
    Counters before = new Counters(1000, 4_096_000, 1000, 1000, 4_096_000);
    meter.roundBegan(1000, before, 1000 * MILLI);
    // As many bytes a second as in the first round; but its pages became less and less.
    Counters half = new Counters(1500, 5_120_000, 1500, 1500, 5_120_000);
    meter.observe(half, 1250 * MILLI, 1250 * MILLI);
    Counters most = new Counters(1750, 5_171_200, 1750, 1750, 5_171_200);
    meter.observe(most, 1263 * MILLI, 1263 * MILLI);
    Counters all = new Counters(2000, 5_222_400, 2000, 2000, 5_222_400);
    meter.roundAcknowledged(all, 1 * MILLI, 1275 * MILLI);
    meter.collected(200, 200, 0, 1275 * MILLI);
    ConvergenceFigures figures = figures(1275);
    assertThat(figures.rates().wireBytesPerPage()).isEqualTo((2048 + 3 * 204.8) / 4);
    // The round got done with 3,636 pages in a second: at that rate it would be 55 ms.
    assertThat(figures.sendingTime().toMillis()).isBetween(31L, 33L);
  }

  @Test
  void aTinyRoundHardlyChangesARate() {
    firstRound();
    Counters before = new Counters(1000, 4_096_000, 1000, 1000, 4_096_000);
    double rate = figures(1000).rates().bytesPerSecond();
    meter.roundBegan(1, before, 1000 * MILLI);
    meter.roundAcknowledged(
        new Counters(1001, 4_096_100, 1001, 1001, 4_096_100), 10 * MILLI, 1012 * MILLI);
    assertThat(figures(1012).rates().bytesPerSecond()).isBetween(rate * 0.98, rate * 1.02);
  }

  @Test
  void periodsAreASecondLongOrMore() {
    firstRound();
    assertThat(figures(1000).period().number()).isZero();
    meter.collected(100, 100, 0, 1000 * MILLI);
    meter.collected(1, 101, 0, 1001 * MILLI);
    ConvergenceFigures.Period first = figures(1001).period();
    assertThat(first.number()).isEqualTo(1);
    assertThat(first.dirtiedPages()).isEqualTo(100);
    assertThat(first.dirtiedBytes()).isEqualTo(409_600);
    assertThat(first.acknowledgedBytes()).isEqualTo(4_096_000);
    meter.collected(1, 102, 0, 2000 * MILLI);
    assertThat(figures(2000).period().dirtiedPages()).isEqualTo(2);
    assertThat(figures(2000).period().number()).isEqualTo(2);
  }

  @Test
  void nothingKnownMeansNothingPromised() {
    meter.began(0);
    ConvergenceFigures figures = figures(0);
    assertThat(figures.downtime().known()).isTrue();
    meter.roundBegan(10, Counters.NONE, 0);
    assertThat(figures(0).downtime().known()).as("ten pages, and no rate").isFalse();
    assertThat(figures(0).ready()).isEmpty();
    assertThat(figures(0).downtime().expectedText()).isEqualTo("unknown");
    assertThat(figures.rates().bytesPerSecond()).isZero();
    assertThat(figures.rates().wireBytesPerPage()).isEqualTo(4096);
  }

  @Test
  void aDestinationThatAcknowledgesNothingIsKnownToTakeForEver() {
    meter.began(0);
    meter.roundBegan(10, Counters.NONE, 0);
    meter.observe(Counters.NONE, 0, 2000 * MILLI);
    assertThat(figures(2000).downtime().known()).isTrue();
    assertThat(figures(2000).downtime().expected()).isGreaterThan(Duration.ofHours(1));
  }

  @Test
  void theRestOfAFirstRoundIsTakenToHaveAsManyZerosAsWhatWasReadOfIt() {
    meter.began(0);
    meter.roundBegan(1000, Counters.NONE, 0);
    meter.observe(new Counters(500, 409_600, 500, 100, 409_600), 1000 * MILLI, 1000 * MILLI);
    ConvergenceFigures figures = figures(1000);
    assertThat(figures.remainingPages()).isEqualTo(500);
    assertThat(figures.rates().wireBytesPerPage()).isEqualTo(4096);
    assertThat(figures.remainingBytes()).isEqualTo(409_600);
    assertThat(figures.sendingTime()).hasMillis(1000);
  }

  @Test
  void zerosOfAFirstRoundSayNothingOfDirtyPagesButThoseOfLaterOnesDo() {
    meter.began(0);
    meter.roundBegan(1000, Counters.NONE, 0);
    Counters first = new Counters(1000, 819_200, 1000, 200, 819_200);
    meter.roundAcknowledged(first, 10 * MILLI, 1000 * MILLI);
    meter.collected(400, 400, 0, 1000 * MILLI);
    assertThat(figures(1000).remainingBytes()).isEqualTo(400 * 4096);
    meter.roundBegan(400, first, 1000 * MILLI);
    Counters second = new Counters(1400, 1_638_400, 1400, 400, 1_638_400);
    meter.roundAcknowledged(second, 10 * MILLI, 2000 * MILLI);
    meter.collected(400, 400, 0, 2000 * MILLI);
    assertThat(figures(2000).remainingBytes()).isEqualTo(200 * 4096);
  }

  @Test
  void pagesThatWereTriedOutArePricedByThatAndNotByWhatWasSentBefore() {
    firstRound();
    meter.tried(new ConvergenceMeter.Sample(100, 50, 10_000));
    meter.collected(1000, 1000, 0, 1000 * MILLI);
    ConvergenceFigures figures = figures(1000);
    assertThat(figures.rates().wireBytesPerPage()).isEqualTo(200);
    assertThat(figures.remainingBytes()).as("every other one is zero").isEqualTo(500 * 200);
    assertThat(figures.sendingTime().toMillis()).isBetween(23L, 26L);
    assertThat(figures.stall().leastBytes()).isEqualTo(500 * 200);
    assertThat(figures.period().dirtiedBytes()).isEqualTo(500 * 200);
  }

  @Test
  void aFewPagesThatWereTriedOutSayNothingOfTheOthers() {
    firstRound();
    meter.collected(1000, 1000, 0, 1000 * MILLI);
    double before = figures(1000).remainingBytes();
    meter.tried(new ConvergenceMeter.Sample(63, 63, 0));
    meter.collected(1000, 1000, 0, 1000 * MILLI);
    assertThat((double) figures(1000).remainingBytes()).isEqualTo(before);
  }

  @Test
  void whatWasTriedOutHoldsForTheRoundThatSendsItAndUntilSomethingElseIs() {
    firstRound();
    meter.tried(new ConvergenceMeter.Sample(100, 100, 10_000));
    meter.collected(1000, 1000, 0, 1000 * MILLI);
    Counters before = new Counters(1000, 4_096_000, 1000, 1000, 4_096_000);
    meter.roundBegan(1000, before, 1000 * MILLI);
    // The first pages happen to be larger.
    Counters half = new Counters(1500, 4_196_000, 1500, 1500, 4_196_000);
    meter.observe(half, 1010 * MILLI, 1010 * MILLI);
    assertThat(figures(1010).remainingBytes()).isEqualTo(500 * 100);
    Counters all = new Counters(2000, 4_246_000, 2000, 2000, 4_246_000);
    meter.roundAcknowledged(all, 10 * MILLI, 1020 * MILLI);
    meter.tried(null);
    meter.collected(1000, 1000, 0, 1020 * MILLI);
    assertThat(figures(1020).rates().wireBytesPerPage())
        .as("nothing could be tried out: as in the last round")
        .isEqualTo(150);
  }

  @Test
  void progressIsOnlyWhatIsLessThanEverBefore() {
    StallDetector stalls = new StallDetector();
    assertThat(stalls.stall(0)).isEqualTo(ConvergenceFigures.Stall.NONE);
    long[] remaining = {1000, 500, 900, 510, 800, 499, 700, 505};
    for (int i = 0; i < remaining.length; i++) {
      stalls.roundEnded(remaining[i], i * 1000 * MILLI);
    }
    ConvergenceFigures.Stall stall = stalls.stall(8000 * MILLI);
    assertThat(stall.leastBytes()).isEqualTo(500);
    assertThat(stall.rounds()).isEqualTo(6);
    assertThat(stall.time()).hasSeconds(7);
    assertThat(stall.atMinimum()).isTrue();
    stalls.roundEnded(700, 8000 * MILLI);
    assertThat(stalls.stall(8000 * MILLI).atMinimum()).isFalse();
    stalls.roundEnded(400, 9000 * MILLI);
    assertThat(stalls.stall(9000 * MILLI).rounds()).isZero();
  }

  @Test
  void aTimeInWhichNothingWasSentIsNoSlowLinkAndNoFasterGuest() {
    firstRound();
    meter.collected(1000, 1000, 0, 1000 * MILLI);
    Counters before = new Counters(1000, 4_096_000, 1000, 1000, 4_096_000);
    meter.roundBegan(1000, before, 1000 * MILLI);
    Counters half = new Counters(1500, 6_144_000, 1500, 1500, 6_144_000);
    meter.observe(half, 1500 * MILLI, 1500 * MILLI);
    double rate = figures(1500).rates().bytesPerSecond();
    // A minute goes by; what was on its way arrives in it.
    Counters later = new Counters(1600, 6_553_600, 1600, 1600, 6_553_600);
    meter.idled(later, 60_000 * MILLI, 1500 * MILLI);
    meter.roundAcknowledged(
        new Counters(2000, 8_192_000, 2000, 2000, 8_192_000), 10 * MILLI, 1900 * MILLI);
    assertThat(figures(1900).rates().bytesPerSecond()).isBetween(rate * 0.98, rate * 1.05);
    // The guest dirtied 1,000 pages a second all the time.
    meter.collected(60_900, 8_000, 0, 1900 * MILLI);
    assertThat(figures(1900).rates().dirtyPagesPerSecond()).isBetween(990.0, 1010.0);
    assertThat(figures(1900).stall().rounds()).as("rounds without progress").isZero();
    meter.roundBegan(8_000, before, 1900 * MILLI);
    meter.collected(100, 100, 0, 2000 * MILLI);
    assertThat(figures(2000).period().dirtiedPages()).isEqualTo(1_000);
  }
}
