package io.pageflux.prediction;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.pageflux.convergence.AutoConverge;
import io.pageflux.convergence.ConvergenceLimits;
import io.pageflux.convergence.ConvergenceLimits.AtLimit;
import io.pageflux.convergence.LimitPolicy;
import io.pageflux.prediction.Forecast.Verdict;
import java.time.Duration;
import java.util.List;
import java.util.function.DoubleUnaryOperator;
import org.junit.jupiter.api.Test;

class ForecasterTest {

  private static final long MIB = 1 << 20;
  private static final long PAGES = 100 * 256;
  private static final ConvergenceLimits LIMITS =
      new ConvergenceLimits(Duration.ofMillis(300), 30, Duration.ofMinutes(5), AtLimit.ABORT);

  /** A guest that writes pages at random, at a rate that may change. */
  private record Writer(double lengthSeconds, DoubleUnaryOperator pagesPerSecond)
      implements DirtyCurve {
    @Override
    public double pages(double from, double seconds, double extrapolation) {
      double writes = 0;
      for (double t = 0; t < seconds; t += 0.01) {
        writes += 0.01 * pagesPerSecond.applyAsDouble(from + t);
      }
      return PAGES * (1 - Math.exp(-writes / PAGES));
    }
  }

  private static GuestProfile guest(DirtyCurve curve) {
    PageLesson whole = new PageLesson(0, 1000, 1, 4096, 4096);
    return new GuestProfile(
        PAGES,
        4096,
        "scripted",
        whole,
        0,
        List.of(whole),
        new CodecTimes(1000, 0, 0, 1, 1),
        0.001,
        0,
        curve);
  }

  private static GuestProfile writing(double mibPerSecond) {
    return guest(new Writer(10, t -> mibPerSecond * 256));
  }

  private static ForecastSpec over(double mibPerSecond) {
    return ForecastSpec.of((long) (mibPerSecond * MIB), LIMITS, LimitPolicy::new);
  }

  @Test
  void aGuestThatDoesNotWriteTakesAsLongAsItsMemory() {
    Forecast forecast = Forecaster.of(writing(0), over(10));
    assertThat(forecast.verdict()).isEqualTo(Verdict.CONVERGES);
    assertThat(forecast.seconds().expected()).isCloseTo(10, within(0.3));
    assertThat(forecast.bytes().expected()).isCloseTo(100.0 * MIB, within(3.0 * MIB));
  }

  @Test
  void aSlowWriterConvergesAndAFastOneDoesNot() {
    assertThat(Forecaster.of(writing(2), over(10)).verdict()).isEqualTo(Verdict.CONVERGES);
    Forecast fast = Forecaster.of(writing(50), over(10));
    assertThat(fast.verdict()).isEqualTo(Verdict.DOES_NOT_CONVERGE);
    assertThat(fast.reason()).contains("30 rounds");
    assertThat(fast.downtimeSeconds().high()).isZero();
  }

  @Test
  void aGuestThatIsThrottledConverges() {
    ForecastSpec auto =
        new ForecastSpec(
            t -> 10.0 * MIB,
            Duration.ofMillis(1),
            LIMITS,
            AutoConverge::new,
            Duration.ZERO,
            true,
            false,
            20,
            1);
    Forecast forecast = Forecaster.of(writing(20), auto);
    assertThat(forecast.verdict()).isEqualTo(Verdict.CONVERGES);
    assertThat(forecast.throttlePercent().expected()).isGreaterThan(20);
    assertThat(Forecaster.of(writing(20), auto.withCanThrottle(false)).verdict())
        .isEqualTo(Verdict.DOES_NOT_CONVERGE);
  }

  @Test
  void aGuestThatWritesInBurstsConvergesBetweenThem() {
    GuestProfile bursts = guest(new Writer(10, t -> t % 10 < 5 ? 50 * 256 : 0));
    assertThat(Forecaster.of(bursts, over(20)).verdict()).isEqualTo(Verdict.CONVERGES);
  }

  @Test
  void aLinkThatCollapsesBeforeTheEndIsNoEnd() {
    ForecastSpec collapsing = over(10).withLink(t -> t < 5 ? 20.0 * MIB : 0.0);
    Forecast forecast = Forecaster.of(writing(5), collapsing);
    assertThat(forecast.verdict()).isEqualTo(Verdict.DOES_NOT_CONVERGE);
    assertThat(forecast.seconds().expected()).isCloseTo(300, within(2.0));
  }

  @Test
  void aForcedSwitchOverIsNoConvergenceAndItsDowntimeIsLong() {
    ForecastSpec forced =
        ForecastSpec.of(10 * MIB, LIMITS.withAtLimit(AtLimit.SWITCH_OVER), LimitPolicy::new);
    Forecast forecast = Forecaster.of(writing(50), forced);
    assertThat(forecast.verdict()).isEqualTo(Verdict.DOES_NOT_CONVERGE);
    assertThat(forecast.downtimeSeconds().expected()).isGreaterThan(5);
  }

  @Test
  void theSameSeedForetellsTheSame() {
    assertThat(Forecaster.of(writing(3), over(7))).isEqualTo(Forecaster.of(writing(3), over(7)));
  }

  @Test
  void aLinkWithoutARateIsRefused() {
    assertThatThrownBy(() -> ForecastSpec.of(0, LIMITS, LimitPolicy::new))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("above 0");
  }
}
