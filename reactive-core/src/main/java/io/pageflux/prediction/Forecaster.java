package io.pageflux.prediction;

import io.pageflux.prediction.Forecast.Range;
import io.pageflux.prediction.Forecast.Verdict;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.ToDoubleFunction;

/**
 * Plays migrations that begin at different moments of what was watched, and that differ in what is
 * not known for sure: the cost of pages, and which pages a longer time would show. Pure; the same
 * seed gives the same forecast.
 */
public final class Forecaster {

  /** By how much the measured cost of pages and speed of the codecs may be wrong, at the least. */
  private static final double DOUBT = 0.03;

  private Forecaster() {}

  /** {@return what would happen} Takes some milliseconds for each played migration. */
  public static Forecast of(GuestProfile profile, ForecastSpec spec) {
    SplittableRandom random = new SplittableRandom(spec.seed());
    List<ForecastRun.Result> results = new ArrayList<>();
    for (int i = 0; i < spec.runs(); i++) {
      double begin = (i + random.nextDouble()) / spec.runs() * profile.dirtying().lengthSeconds();
      double doubt = Math.hypot(DOUBT, profile.firstError());
      results.add(
          new ForecastRun(
                  profile,
                  spec,
                  begin,
                  Math.max(0.1, 1 + doubt * random.nextGaussian()),
                  2 * random.nextDouble() - 1)
              .run());
    }
    double converged =
        (double) results.stream().filter(ForecastRun.Result::converged).count() / results.size();
    Verdict verdict = Verdict.of(converged);
    // Of what is likely; the rest speaks in the probability.
    List<ForecastRun.Result> told =
        results.stream().filter(r -> r.converged() == converged >= 0.5).toList();
    ForecastRun.Result middle =
        told.stream()
            .sorted(Comparator.comparingDouble(ForecastRun.Result::seconds))
            .toList()
            .get(told.size() / 2);
    return new Forecast(
        verdict,
        converged,
        range(told, ForecastRun.Result::seconds),
        range(told, ForecastRun.Result::bytes),
        range(told, ForecastRun.Result::downtimeSeconds),
        range(told, ForecastRun.Result::rounds),
        range(told, ForecastRun.Result::throttlePercent),
        middle.reason());
  }

  private static Range range(
      List<ForecastRun.Result> results, ToDoubleFunction<ForecastRun.Result> value) {
    return Range.of(results.stream().mapToDouble(value).sorted().toArray());
  }
}
