package io.pageflux.examples.demo;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.pageflux.examples.cli.Bytes;
import io.pageflux.examples.cli.Durations;
import io.pageflux.examples.report.MigrationSummary;
import io.pageflux.migration.MigrationStatus;
import java.io.PrintStream;

/** What the demonstration shows at its beginning and at its end. */
final class DemoReport {

  private DemoReport() {}

  static String started(DemoOptions options, JsonNode guest, String pids) {
    long link = options.linkBytesPerSecond();
    return "A key-value store of %s records in %s writes %s; codec %s, link %s.%n%s."
        .formatted(
            MigrationSummary.grouped(guest.path("records").asLong()),
            Bytes.text(options.sizeBytes()),
            Bytes.rate(options.dirtyBytesPerSecond()),
            options.codec(),
            link == 0 ? "without limit" : Bytes.rate(link),
            pids);
  }

  static void print(DemoOptions options, DemoRun.Result result, PrintStream out) {
    JsonNode completed = result.message("completed");
    JsonNode info = completed.path("info");
    if (!info.isObject()) {
      printSteps(result.message("source-failed").path("info"), out);
      return;
    }
    out.println();
    MigrationSummary.rounds(info).forEach(out::println);
    out.println();
    MigrationSummary.totals(info).forEach(out::println);
    // How long it waited, only the destination knows.
    JsonNode arrived = result.message("running").path("info");
    MigrationSummary.waiting(arrived).forEach(out::println);
    out.println(
        MigrationSummary.entry(
            "limit",
            "%s of downtime; %s"
                .formatted(Durations.text(options.downtimeLimit()), options.policyText())));
    MigrationSummary.steps(info).forEach(out::println);
    out.println(MigrationSummary.entry("tracked by", info.path("tracker").asText()));
    JsonNode verified = result.message("verified");
    if (verified.has("ok")) {
      long before = completed.path("updates").asLong();
      out.println(
          MigrationSummary.entry(
              "guest",
              "%s updates at the source, %s more at the destination"
                  .formatted(
                      MigrationSummary.grouped(before),
                      MigrationSummary.grouped(verified.path("updates").asLong() - before))));
      out.println(MigrationSummary.entry("verified", verification(verified)));
      verified.path("findings").forEach(finding -> out.println("  " + finding.asText()));
    }
  }

  /** {@return what became of a guest that was to stay at the source} */
  static String atSource(JsonNode failed) {
    JsonNode verified = failed.path("verified");
    return verified.path("ok").asBoolean()
        ? "; the guest goes on at the source: %s records, every one is sound"
            .formatted(MigrationSummary.grouped(verified.path("records").asLong()))
        : "; and the guest at the source is NOT what it was: " + verified;
  }

  private static void printSteps(JsonNode info, PrintStream out) {
    if (info.path("steps").isArray()) {
      out.println();
      MigrationSummary.rounds(info).forEach(out::println);
      out.println();
      MigrationSummary.steps(info).forEach(out::println);
    }
  }

  static String verification(JsonNode verified) {
    String records = MigrationSummary.grouped(verified.path("records").asLong());
    return verified.path("ok").asBoolean()
        ? "%s records, %s: every one is sound, recent and in its place"
            .formatted(records, Bytes.text(verified.path("bytes").asLong()))
        : "FAILED: of %s records %d are damaged, %d misplaced; %d regions are outdated, %d soiled"
            .formatted(
                records,
                verified.path("damaged").asLong(),
                verified.path("misplaced").asLong(),
                verified.path("outdated-regions").asLong(),
                verified.path("soiled-chunks").asLong());
  }

  /** {@return the report as JSON: the migration, and what became of the guest} */
  static ObjectNode json(DemoOptions options, DemoRun.Result result) {
    ObjectNode json = migration(result);
    ObjectNode demo = json.putObject("demo");
    demo.put("size", options.sizeBytes());
    demo.put("dirty-rate", options.dirtyBytesPerSecond());
    demo.put("link-rate", options.linkBytesPerSecond());
    demo.put("codec", options.codec().toString());
    demo.put("workers", options.workers());
    demo.put("downtime-limit", options.downtimeLimit().toMillis());
    demo.put("policy", options.policyText());
    if (result.message("running").path("info").path("postcopy") instanceof ObjectNode postcopy) {
      json.set("postcopy", postcopy.deepCopy());
    }
    demo.put("verified", result.message("verified").path("ok").asBoolean());
    if (result.message("verified") instanceof ObjectNode verified && verified.has("ok")) {
      ObjectNode verification = verified.deepCopy();
      verification.remove(ChildTalk.EVENT);
      json.set("verification", verification);
    }
    if (result.failure() != null) {
      json.put("error-desc", result.failure());
    }
    return json;
  }

  private static ObjectNode migration(DemoRun.Result result) {
    for (String end : new String[] {"completed", "source-failed"}) {
      if (result.message(end).path("info") instanceof ObjectNode info) {
        return info.deepCopy();
      }
    }
    return JsonNodeFactory.instance.objectNode().put("status", MigrationStatus.FAILED.qemuName());
  }
}
