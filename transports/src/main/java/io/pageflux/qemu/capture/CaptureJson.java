package io.pageflux.qemu.capture;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.pageflux.qemu.stream.StreamSummaryJson;

/** A complete capture as JSON, which is what {@code capture.json} holds; sizes are bytes. */
public final class CaptureJson {

  private CaptureJson() {}

  /**
   * {@return the capture}
   *
   * @throws IllegalArgumentException if it is not complete
   */
  public static ObjectNode of(CaptureInfo info) {
    ObjectNode summary =
        StreamSummaryJson.of(
            info.summary()
                .orElseThrow(() -> new IllegalArgumentException("the capture is not complete")));
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("format", "pageflux-qemu-capture");
    json.put("version", 1);
    json.put("stream-file", CaptureFiles.STREAM);
    json.put("ram-bytes", info.ramBytes());
    json.put("duration-ms", info.duration().toMillis());
    json.put("return-path", info.returnPath());
    json.setAll(summary);
    ArrayNode blocks = json.withArray("ram-blocks");
    for (int i = 0; i < info.images().size(); i++) {
      ObjectNode block = (ObjectNode) blocks.get(i);
      CaptureInfo.Image image = info.images().get(i);
      block.put("file", image.file()).put("page-size", image.pageSizeBytes());
      block.remove("hottest-pages"); // not counted
    }
    return json;
  }
}
