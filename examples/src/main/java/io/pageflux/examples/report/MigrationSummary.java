package io.pageflux.examples.report;

import com.fasterxml.jackson.databind.JsonNode;
import io.pageflux.examples.cli.Bytes;
import io.pageflux.examples.cli.Durations;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** A migration that has ended, for people: what each round did, and what came of it. */
public final class MigrationSummary {

  private static final String ROUND = "%5s %12s %12s %12s %12s %12s %12s %10s %14s";
  private static final int MOST_ROUNDS = 40;

  private MigrationSummary() {}

  /**
   * {@return a table of the rounds}
   *
   * @param info as {@link MigrationJson}
   */
  public static List<String> rounds(JsonNode info) {
    List<String> lines = new ArrayList<>();
    lines.add(
        ROUND.formatted(
            "round", "dirty pages", "zero", "whole", "delta", "unchanged", "sent", "time", "rate"));
    JsonNode rounds = info.path("rounds");
    int omitted = Math.max(0, rounds.size() - MOST_ROUNDS);
    for (int i = 0; i < rounds.size(); i++) {
      if (i == 0 || i > omitted) {
        lines.add(round(rounds.path(i)));
      } else if (i == omitted) {
        lines.add("  ... %d rounds like these ...".formatted(omitted));
      }
    }
    return lines;
  }

  private static String round(JsonNode round) {
    double millis = round.path("time").asDouble();
    double bytes = round.path("bytes").asDouble();
    return ROUND.formatted(
        round.path("last").asBoolean() ? "last" : round.path("round").asText(),
        count(round.path("dirty")),
        count(round.path("duplicate")),
        count(round.path("normal")),
        count(round.path("delta")),
        count(round.path("unchanged")),
        Bytes.text(bytes),
        Durations.text(Duration.ofNanos((long) (millis * 1e6))),
        millis == 0 ? "-" : Bytes.rate(bytes * 1000 / millis));
  }

  /**
   * {@return what came of the migration}
   *
   * @param info as {@link MigrationJson}
   */
  public static List<String> totals(JsonNode info) {
    List<String> lines = new ArrayList<>();
    JsonNode ram = info.path("ram");
    long delta = sum(info, "delta");
    long unchanged = sum(info, "unchanged");
    int pageSize = ram.path("page-size").asInt();
    lines.add(
        entry(
            "memory",
            "%s in pages of %d bytes%s"
                .formatted(
                    Bytes.text(ram.path("total").asLong()), pageSize, dirtied(ram, pageSize))));
    lines.add(
        entry(
            "pages",
            "%s zero (%s), %s whole (%s), %s as deltas (%s), %s unchanged"
                .formatted(
                    count(ram.path("duplicate")),
                    pages(ram.path("duplicate").asLong(), pageSize),
                    count(ram.path("normal")),
                    pages(ram.path("normal").asLong(), pageSize),
                    grouped(delta),
                    pages(delta, pageSize),
                    grouped(unchanged))));
    JsonNode xbzrle = info.path("xbzrle-cache");
    if (xbzrle.isObject()) {
      lines.add(entry("xbzrle", xbzrle(xbzrle)));
    }
    JsonNode compression = info.path("compression");
    if (compression.isObject()) {
      lines.add(
          entry(
              "compression",
              "%s became %s: %.2f to 1; %s of %s batches did not shrink"
                  .formatted(
                      Bytes.text(compression.path("bytes").asLong()),
                      Bytes.text(compression.path("compressed-size").asLong()),
                      compression.path("compression-rate").asDouble(),
                      count(compression.path("raw-batches")),
                      grouped(
                          compression.path("raw-batches").asLong()
                              + compression.path("batches").asLong()))));
    }
    JsonNode placement = info.path("placement");
    if (placement.isObject()) {
      lines.add(
          entry(
              "placed",
              "%s of the whole pages (%s) in memory that both sides share"
                  .formatted(
                      count(placement.path("pages")),
                      Bytes.text(placement.path("bytes").asLong()))));
      placement.path("refusals").forEach(why -> lines.add(entry("not placed", why.asText())));
    }
    JsonNode postcopy = info.path("postcopy");
    if (postcopy.isObject()) {
      lines.add(entry("post-copy", postcopy(postcopy)));
      lines.add(
          entry(
              "bytes",
              "%s in pre-copy, %s during the downtime, %s in post-copy"
                  .formatted(
                      Bytes.text(ram.path("precopy-bytes").asLong()),
                      Bytes.text(ram.path("downtime-bytes").asLong()),
                      Bytes.text(ram.path("postcopy-bytes").asLong()))));
      lines.addAll(waiting(info));
    }
    JsonNode convergence = info.path("convergence");
    if (convergence.isObject() && !info.path("status").asText().equals("completed")) {
      lines.add(entry("to send", toSend(convergence)));
    }
    lines.add(entry("sent", sent(info)));
    lines.add(
        entry(
            "downtime",
            millis(info.path("downtime"))
                + (info.path("expected-downtime").asLong() == 0
                    ? ""
                    : " (expected %s)".formatted(millis(info.path("expected-downtime"))))));
    return lines;
  }

  /**
   * {@return what was done so that the migration ended: when, what and why}
   *
   * @param info as {@link MigrationJson}
   */
  public static List<String> steps(JsonNode info) {
    List<String> lines = new ArrayList<>();
    for (JsonNode step : info.path("steps")) {
      Duration at = Duration.ofNanos((long) (step.path("time").asDouble() * 1e6));
      lines.add(
          entry(
              "at " + Durations.text(at),
              step.path("what").asText() + ": " + step.path("why").asText()));
    }
    return lines;
  }

  private static String postcopy(JsonNode postcopy) {
    return "switched after %s with %s pages absent: %s sent on request, %s pushed"
        .formatted(
            Durations.text(
                Duration.ofNanos((long) (postcopy.path("switch-after").asDouble() * 1e6))),
            count(postcopy.path("absent-pages")),
            count(postcopy.path("requested-pages")),
            count(postcopy.path("pushed-pages")));
  }

  /**
   * {@return how long the guest waited for pages in post-copy; nothing where that is not known}
   *
   * @param info as {@link MigrationJson}
   */
  public static List<String> waiting(JsonNode info) {
    JsonNode postcopy = info.path("postcopy");
    return postcopy.has("latency-count")
        ? List.of(
            entry(
                "waited",
                "for %s requested pages: median %.0f µs, 99 %% up to %.0f µs, at the most %.0f µs"
                    .formatted(
                        count(postcopy.path("latency-count")),
                        postcopy.path("latency-median").asDouble() * 1000,
                        postcopy.path("latency-p99").asDouble() * 1000,
                        postcopy.path("latency-max").asDouble() * 1000)))
        : List.of();
  }

  /** Only the source knows it. */
  private static String dirtied(JsonNode ram, int pageSize) {
    double rate = ram.path("dirty-pages-rate").asDouble();
    return rate == 0 ? "" : ", dirtied lately at " + Bytes.rate(rate * pageSize);
  }

  private static String xbzrle(JsonNode xbzrle) {
    long pages = xbzrle.path("pages").asLong();
    long misses = xbzrle.path("cache-miss").asLong();
    return "%s pages in %s, %s overflows, %s misses (%.0f %%)"
        .formatted(
            grouped(pages),
            Bytes.text(xbzrle.path("bytes").asLong()),
            count(xbzrle.path("overflow")),
            grouped(misses),
            pages + misses == 0 ? 0 : 100.0 * misses / (pages + misses));
  }

  private static String sent(JsonNode info) {
    JsonNode ram = info.path("ram");
    double seconds = info.path("total-time").asDouble() / 1000;
    double total = ram.path("total").asDouble();
    return "%s in %s: %s of guest memory, %s on the wire"
        .formatted(
            Bytes.text(ram.path("transferred").asLong()),
            millis(info.path("total-time")),
            seconds == 0 ? "-" : Bytes.rate(total / seconds),
            Bytes.rate(ram.path("mbps").asDouble() * 1e6 / 8));
  }

  private static String toSend(JsonNode convergence) {
    return "%s on the wire, acknowledged lately at %s; %.1f ms of a pause are fixed; %s rounds without progress"
        .formatted(
            Bytes.text(convergence.path("remaining-wire").asLong()),
            Bytes.rate(convergence.path("goodput-mbps").asDouble() * 1e6 / 8),
            convergence.path("downtime-fixed").asDouble(),
            count(convergence.path("stalled-rounds")));
  }

  /** {@return a line with a title} */
  public static String entry(String title, String text) {
    return "%-12s %s".formatted(title, text);
  }

  private static long sum(JsonNode info, String key) {
    long sum = 0;
    for (JsonNode round : info.path("rounds")) {
      sum += round.path(key).asLong();
    }
    return sum;
  }

  private static String millis(JsonNode millis) {
    return Durations.text(Duration.ofMillis(millis.asLong()));
  }

  private static String pages(long pages, int pageSize) {
    return Bytes.text((double) pages * pageSize);
  }

  private static String count(JsonNode number) {
    return grouped(number.asLong());
  }

  /** {@return a number with its thousands set apart} */
  public static String grouped(long number) {
    return String.format(Locale.ROOT, "%,d", number);
  }
}
