package io.pageflux.examples.demo;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.pageflux.examples.cli.Bytes;
import io.pageflux.examples.cli.Durations;
import io.pageflux.examples.report.MigrationSummary;
import java.io.PrintStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/** What the demonstration shows of checkpoints. */
final class CheckpointDemoReport {

  private final List<JsonNode> checkpoints = new ArrayList<>();

  /** Adds a checkpoint that was acknowledged. {@return how many there are} */
  int add(JsonNode checkpoint) {
    checkpoints.add(checkpoint);
    return checkpoints.size();
  }

  /** {@return the number of the newest one that the source knows to be held} */
  long newest() {
    return checkpoints.isEmpty() ? 0 : checkpoints.getLast().path("number").asLong();
  }

  static String line(JsonNode checkpoint) {
    return "checkpoint %-4d paused %-9s (scan %s, copy %s)  %s dirty pages, %s%s"
        .formatted(
            checkpoint.path("number").asLong(),
            micros(checkpoint, "pause-us"),
            micros(checkpoint, "scan-us"),
            micros(checkpoint, "copy-out-us"),
            MigrationSummary.grouped(checkpoint.path("dirty").asLong()),
            Bytes.text(checkpoint.path("bytes").asLong()),
            checkpoint.path("fitted").asBoolean() ? "" : "; it did not fit the staging area");
  }

  private static String micros(JsonNode checkpoint, String name) {
    return Durations.text(Duration.ofNanos(1000 * checkpoint.path(name).asLong()));
  }

  void print(DemoRun.Result result, PrintStream out) {
    JsonNode over = result.message("taken-over");
    if (checkpoints.isEmpty() || !over.has("number")) {
      return;
    }
    out.println();
    long[] pauses =
        checkpoints.stream().mapToLong(one -> one.path("pause-us").asLong()).sorted().toArray();
    out.println(
        MigrationSummary.entry(
            "pauses",
            "median %s, longest %s"
                .formatted(text(pauses[pauses.length / 2]), text(pauses[pauses.length - 1]))));
    out.println(
        MigrationSummary.entry(
            "taken over",
            "from checkpoint %d; %d was the newest that was acknowledged when the source was killed"
                .formatted(over.path("number").asLong(), newest())));
    JsonNode verified = result.message("verified");
    if (verified.has("ok")) {
      out.println(
          MigrationSummary.entry(
              "guest",
              "%s updates at the checkpoint, %s more at the destination"
                  .formatted(
                      MigrationSummary.grouped(over.path("updates").asLong()),
                      MigrationSummary.grouped(
                          verified.path("updates").asLong() - over.path("updates").asLong()))));
      out.println(MigrationSummary.entry("verified", DemoReport.verification(verified)));
    }
  }

  private static String text(long micros) {
    return Durations.text(Duration.ofNanos(1000 * micros));
  }

  /** {@return the report as JSON} */
  ObjectNode json(DemoOptions options, DemoRun.Result result) {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("status", result.failure() == null ? "completed" : "failed");
    var list = json.putArray("checkpoints");
    for (JsonNode one : checkpoints) {
      ObjectNode copy = one.deepCopy();
      copy.remove(ChildTalk.EVENT);
      list.add(copy);
    }
    json.put("taken-over", result.message("taken-over").path("number").asLong());
    ObjectNode demo = json.putObject("demo");
    demo.put("size", options.sizeBytes());
    demo.put("dirty-rate", options.dirtyBytesPerSecond());
    demo.put("link-rate", options.linkBytesPerSecond());
    demo.put("codec", options.codec().toString());
    demo.put("interval-us", options.checkpoints().interval().toNanos() / 1000);
    demo.put("verified", result.message("verified").path("ok").asBoolean());
    if (result.failure() != null) {
      json.put("error-desc", result.failure());
    }
    return json;
  }
}
