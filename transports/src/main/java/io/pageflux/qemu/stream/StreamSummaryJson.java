package io.pageflux.qemu.stream;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.pageflux.MigrationException;
import io.pageflux.qemu.stream.QemuStreamSummary.Count;
import java.util.Locale;

/** A stream's summary as JSON; sizes are bytes. */
public final class StreamSummaryJson {

  private StreamSummaryJson() {}

  /** {@return the summary, in an object of its own} */
  public static ObjectNode of(QemuStreamSummary summary) {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("stream-bytes", summary.streamBytes());
    summary.machineType().ifPresent(type -> json.put("machine-type", type));
    summary.capabilities().forEach(json.putArray("capabilities")::add);
    json.put("page-size", summary.pageSizeBytes());
    ObjectNode commands = json.putObject("commands");
    summary.commands().forEach((command, count) -> commands.put(name(command), count));
    json.put("ram-sections", summary.sections());
    ObjectNode records = json.putObject("page-records");
    for (QemuRecordType type : QemuRecordType.values()) {
      put(records, type, summary.total(type));
    }
    var blocks = json.putArray("ram-blocks");
    summary.blocks().forEach(block -> block(blocks.addObject(), block));
    json.put("tail-bytes", summary.tailBytes());
    var devices = json.putArray("devices");
    for (QemuStreamSummary.Device device : summary.devices()) {
      devices
          .addObject()
          .put("name", device.name())
          .put("instance", device.instance())
          .put("version", device.version())
          .put("bytes", device.sizeBytes());
    }
    summary.error().map(MigrationException::getMessage).ifPresent(e -> json.put("error", e));
    return json;
  }

  private static String name(Enum<?> value) {
    return value.name().toLowerCase(Locale.ROOT).replace('_', '-');
  }

  private static void put(ObjectNode records, QemuRecordType type, Count count) {
    if (count.records() > 0) {
      records.putObject(name(type)).put("records", count.records()).put("bytes", count.bytes());
    }
  }

  private static void block(ObjectNode json, QemuStreamSummary.Block block) {
    json.put("name", block.name()).put("bytes", block.sizeBytes());
    block.guestPhysicalAddress().ifPresent(address -> json.put("guest-physical-address", address));
    ObjectNode records = json.putObject("page-records");
    block.counts().forEach((type, count) -> put(records, type, count));
    var hottest = json.putArray("hottest-pages");
    for (QemuStreamSummary.HotPage page : block.hottest()) {
      hottest.addObject().put("page", page.page()).put("count", page.count());
    }
  }
}
