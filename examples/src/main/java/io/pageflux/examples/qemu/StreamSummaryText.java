package io.pageflux.examples.qemu;

import io.pageflux.examples.cli.Bytes;
import io.pageflux.examples.cli.Failures;
import io.pageflux.qemu.stream.QemuRecordType;
import io.pageflux.qemu.stream.QemuStreamSummary;
import io.pageflux.qemu.stream.QemuStreamSummary.Count;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/** A stream's summary for people. */
final class StreamSummaryText {

  private static final int MOST_DEVICES = 20;

  private StreamSummaryText() {}

  static List<String> of(QemuStreamSummary summary) {
    List<String> lines = new ArrayList<>();
    lines.add(
        "stream: %d bytes (%s), machine type %s"
            .formatted(
                summary.streamBytes(),
                Bytes.text(summary.streamBytes()),
                summary.machineType().map(Failures::oneLine).orElse("not said")));
    if (!summary.capabilities().isEmpty()) {
      lines.add("capabilities: " + String.join(", ", summary.capabilities()));
    }
    if (!summary.commands().isEmpty()) {
      lines.add(
          "commands: "
              + summary.commands().entrySet().stream()
                  .map(e -> e.getKey() + " x " + e.getValue())
                  .sorted()
                  .collect(Collectors.joining(", ")));
    }
    lines.add(
        "RAM: %d blocks in %d sections, pages of %d bytes"
            .formatted(summary.blocks().size(), summary.sections(), summary.pageSizeBytes()));
    for (QemuStreamSummary.Block block : summary.blocks()) {
      block(lines, block);
    }
    lines.add("after the RAM: %d bytes".formatted(summary.tailBytes()));
    devices(lines, summary.devices());
    summary.error().ifPresent(e -> lines.add("error: " + Failures.describe(e)));
    return lines;
  }

  private static void block(List<String> lines, QemuStreamSummary.Block block) {
    String at =
        block.guestPhysicalAddress().isPresent()
            ? " at 0x%x".formatted(block.guestPhysicalAddress().getAsLong())
            : "";
    lines.add(
        "  %s: %s%s".formatted(Failures.oneLine(block.name()), Bytes.text(block.sizeBytes()), at));
    for (QemuRecordType type : QemuRecordType.values()) {
      Count count = block.counts().getOrDefault(type, Count.NONE);
      if (count.records() > 0) {
        lines.add(
            "    %-12s %10d records %14d bytes"
                .formatted(
                    type.name().toLowerCase(Locale.ROOT).replace('_', ' '),
                    count.records(),
                    count.bytes()));
      }
    }
    if (!block.hottest().isEmpty()) {
      lines.add(
          "    sent most often: "
              + block.hottest().stream()
                  .map(page -> "page %d x %d".formatted(page.page(), page.count()))
                  .collect(Collectors.joining(", ")));
    }
  }

  private static void devices(List<String> lines, List<QemuStreamSummary.Device> devices) {
    List<QemuStreamSummary.Device> largest =
        devices.stream()
            .sorted((a, b) -> Long.compare(b.sizeBytes(), a.sizeBytes()))
            .limit(MOST_DEVICES)
            .toList();
    for (QemuStreamSummary.Device device : largest) {
      lines.add(
          "  %s, instance %d, version %d: %d bytes"
              .formatted(
                  Failures.oneLine(device.name()),
                  device.instance(),
                  device.version(),
                  device.sizeBytes()));
    }
    if (devices.size() > largest.size()) {
      lines.add("  and %d more devices".formatted(devices.size() - largest.size()));
    }
  }
}
