package io.pageflux.examples.report;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.pageflux.MigrationException;
import io.pageflux.codec.XbzrleCounters;
import io.pageflux.convergence.ConvergenceStep;
import io.pageflux.migration.CompressionStatistics;
import io.pageflux.migration.ConvergenceStatistics;
import io.pageflux.migration.MigrationInfo;
import io.pageflux.migration.MigrationStatus;
import io.pageflux.migration.RamStatistics;
import io.pageflux.migration.RoundReport;
import java.time.Duration;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class MigrationReportTest {

  private static MigrationInfo info(int rounds) {
    List<RoundReport> reports =
        IntStream.rangeClosed(1, rounds)
            .mapToObj(
                i ->
                    new RoundReport(
                        i, i == rounds, 100, 10, 60, 20, 10, 1 << 20, Duration.ofMillis(250)))
            .toList();
    return new MigrationInfo(
        MigrationStatus.COMPLETED,
        Duration.ofMillis(1500),
        Duration.ofMillis(20),
        Duration.ofMillis(33),
        Duration.ofMillis(40),
        Duration.ofMillis(300),
        30,
        new RamStatistics(3 << 20, 0, 1 << 30, 10, 20, 20 << 12, 77, 123.5, 4, 4096, 1000),
        new ConvergenceStatistics(5 << 20, 2.5e6, Duration.ofNanos(1_234_567), 3),
        new XbzrleCounters(64 << 20, 5000, 30, 10, 0.25, 2.5, 3),
        new CompressionStatistics(9, 1, 3000, 1000),
        null,
        null,
        "userfaultfd",
        reports,
        List.of(
            new ConvergenceStep(
                Duration.ofMillis(1234), ConvergenceStep.Kind.THROTTLE, "slower", "it must")),
        null);
  }

  @Test
  void theJsonHasQemusNamesAndUnits() {
    ObjectNode json = MigrationJson.of(info(1));

    assertThat(json.toString())
        .isEqualTo(
            """
            {"status":"completed","total-time":1500,"setup-time":20,"downtime":33,\
            "expected-downtime":40,"cpu-throttle-percentage":30,"downtime-limit":300,"ram":{"transferred":3145728,"remaining":0,"total":1073741824,\
            "duplicate":10,"normal":20,"normal-bytes":81920,"dirty-pages-rate":77,"mbps":123.5,\
            "dirty-sync-count":4,"page-size":4096,"pages-per-second":1000},\
            "convergence":{"remaining-wire":5242880,"goodput-mbps":20.0,"downtime-fixed":1.234,\
            "stalled-rounds":3},\
            "xbzrle-cache":{"cache-size":67108864,"bytes":5000,"pages":30,"cache-miss":10,\
            "cache-miss-rate":0.25,"encoding-rate":2.5,"overflow":3},\
            "compression":{"batches":9,"raw-batches":1,"bytes":3000,"compressed-size":1000,\
            "compression-rate":3.0},"tracker":"userfaultfd","rounds":[{"round":1,"last":true,\
            "dirty":100,"duplicate":10,"normal":60,"delta":20,"unchanged":10,"bytes":1048576,\
            "time":250.0}],"steps":[{"time":1234.0,"step":"throttle","what":"slower",\
            "why":"it must"}]}""");
  }

  @Test
  void aFailureIsReportedEvenIfNothingWasHeardBefore() {
    assertThat(
            MigrationJson.failed(
                    null, MigrationException.of(MigrationException.Kind.LAYOUT, "x"), "why")
                .toString())
        .isEqualTo("{\"status\":\"failed\",\"error-desc\":\"why\"}");
    assertThat(
            MigrationJson.failed(
                    info(1),
                    MigrationException.of(MigrationException.Kind.CANCELLED, "x"),
                    "interrupted")
                .path("status")
                .asText())
        .isEqualTo("cancelled");
  }

  @Test
  void eachStepSaysWhenWhatAndWhy() {
    assertThat(MigrationSummary.steps(MigrationJson.of(info(1))))
        .containsExactly("at 1.23 s    slower: it must");
  }

  @Test
  void whatIsToBeSentIsToldOfAsLongAsTheMigrationRuns() {
    ObjectNode json = MigrationJson.of(info(1));
    assertThat(MigrationSummary.totals(json)).noneMatch(line -> line.startsWith("to send"));
    json.put("status", "active");
    assertThat(MigrationSummary.totals(json))
        .contains(
            "to send      5.00 MiB on the wire, acknowledged lately at 2.38 MiB/s; 1.2 ms of a"
                + " pause are fixed; 3 rounds without progress");
  }

  @Test
  void theRoundsAreATable() {
    assertThat(MigrationSummary.rounds(MigrationJson.of(info(2))))
        .hasSize(3)
        .last()
        .asString()
        .matches(" last +100 +10 +60 +20 +10 +1\\.00 MiB +250 ms +4\\.00 MiB/s");
  }

  @Test
  void ofManyRoundsTheMiddleIsLeftOut() {
    List<String> lines = MigrationSummary.rounds(MigrationJson.of(info(100)));

    assertThat(lines).hasSize(42);
    assertThat(lines.get(1)).startsWith("    1 ");
    assertThat(lines.get(2)).isEqualTo("  ... 60 rounds like these ...");
    assertThat(lines.get(3)).startsWith("   62 ");
    assertThat(lines.getLast()).startsWith(" last ");
  }

  @Test
  void theTotalsNameWhatWasSent() {
    assertThat(String.join("\n", MigrationSummary.totals(MigrationJson.of(info(2)))))
        .contains("10 zero (40.00 KiB), 20 whole (80.00 KiB), 40 as deltas (160.0 KiB), 20 unch")
        .contains("30 pages in 4.88 KiB, 3 overflows, 10 misses (25 %)")
        .contains("2.93 KiB became 1000 B: 3.00 to 1; 1 of 10 batches did not shrink")
        .contains("3.00 MiB in 1.50 s: 682.7 MiB/s of guest memory, 14.72 MiB/s on the wire")
        .contains("33 ms (expected 40 ms)");
  }
}
