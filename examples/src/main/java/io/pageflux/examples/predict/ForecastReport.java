package io.pageflux.examples.predict;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.pageflux.examples.cli.ByteRate;
import io.pageflux.prediction.Forecast;
import io.pageflux.prediction.Forecast.Range;
import io.pageflux.prediction.GuestProfile;
import java.io.PrintStream;
import java.util.List;
import java.util.Locale;

/** Forecasts for people and for programs. */
final class ForecastReport {

  private static final double MIB = 1 << 20;

  private ForecastReport() {}

  static void print(
      PrintStream out,
      GuestProfile profile,
      boolean sameHost,
      List<ByteRate> rates,
      List<Forecast> forecasts) {
    double length = profile.dirtying().lengthSeconds();
    out.printf(
        Locale.ROOT,
        "%.0f MiB, %s; watched for %.1f s: %.0f pages/s dirtied in 100 ms, %.0f pages in all;"
            + " codecs %.0f pages/s%n",
        profile.totalPages() * (double) profile.pageSizeBytes() / MIB,
        profile.tracker(),
        length,
        10 * profile.dirtying().pages(0, 0.1, 0),
        profile.dirtying().pages(0, length, 0),
        profile.codecs().pagesPerSecond(sameHost));
    out.printf(
        "%-12s %-11s %4s  %-20s %-24s %-22s %s%n",
        "MiB/s", "migration", "sure", "seconds", "MiB sent", "downtime ms", "why");
    for (int i = 0; i < rates.size(); i++) {
      Forecast f = forecasts.get(i);
      out.printf(
          Locale.ROOT,
          "%-12.1f %-11s %3.0f%%  %-20s %-24s %-22s %s%n",
          rates.get(i).bytesPerSecond() / MIB,
          f.verdict().text(),
          100 * Math.max(f.probability(), 1 - f.probability()),
          text(f.seconds(), 1),
          text(f.bytes(), 1 / MIB),
          text(f.downtimeSeconds(), 1e3),
          f.reason());
    }
  }

  static String text(Range range, double factor) {
    return String.format(
        Locale.ROOT,
        "%.1f (%.1f-%.1f)",
        range.expected() * factor,
        range.low() * factor,
        range.high() * factor);
  }

  static ObjectNode json(
      GuestProfile profile, boolean sameHost, List<ByteRate> rates, List<Forecast> forecasts) {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("total-pages", profile.totalPages());
    json.put("page-size", profile.pageSizeBytes());
    json.put("tracker", profile.tracker());
    json.put("watched-seconds", profile.dirtying().lengthSeconds());
    json.put("pages-per-second", profile.codecs().pagesPerSecond(sameHost));
    json.put("first-round-bytes-per-page", profile.first().rawBytes());
    var all = json.putArray("forecasts");
    for (int i = 0; i < rates.size(); i++) {
      Forecast f = forecasts.get(i);
      ObjectNode one = all.addObject();
      one.put("rate", rates.get(i).bytesPerSecond());
      one.put("verdict", f.verdict().name().toLowerCase(Locale.ROOT).replace('_', '-'));
      one.put("probability", f.probability());
      range(one.putObject("seconds"), f.seconds());
      range(one.putObject("bytes"), f.bytes());
      range(one.putObject("downtime-seconds"), f.downtimeSeconds());
      range(one.putObject("rounds"), f.rounds());
      range(one.putObject("throttle-percentage"), f.throttlePercent());
      one.put("reason", f.reason());
    }
    return json;
  }

  private static void range(ObjectNode json, Range range) {
    json.put("low", range.low()).put("expected", range.expected()).put("high", range.high());
  }
}
