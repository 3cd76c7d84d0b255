package io.pageflux.qemu.stream;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import io.pageflux.qemu.stream.QemuStreamSummary.Device;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Keeps the end of a stream, and finds the description of the devices there.
 *
 * <p><b>Memory bound:</b> twice {@value #MAX_BYTES} bytes; a longer description is not found.
 */
final class DeviceDescription {

  /** The description of a small PC has 100 KB. */
  static final int MAX_BYTES = 4 << 20;

  private static final int MAX_DEPTH = 64;

  private static final int MAX_DEVICES = 65_536;

  private static final JsonFactory JSON =
      JsonFactory.builder()
          .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(MAX_DEPTH).build())
          .build();

  private byte[] kept = new byte[1024];
  private int size;

  void add(ByteBuffer piece) {
    int n = piece.remaining();
    if (size + n > 2 * MAX_BYTES) {
      System.arraycopy(kept, size - MAX_BYTES, kept, 0, MAX_BYTES);
      size = MAX_BYTES;
    }
    if (size + n > kept.length) {
      kept = Arrays.copyOf(kept, Math.max(size + n, 2 * kept.length));
    }
    piece.get(kept, size, n);
    size += n;
  }

  /** The devices; none if there is no description. */
  List<Device> devices() {
    // It is the last thing in the stream, so its length has to lead to the stream's end.
    ByteBuffer bytes = ByteBuffer.wrap(kept, 0, size);
    for (int at = size - 5; at >= 0; at--) {
      if (kept[at] == QemuFormat.VM_DESCRIPTION && bytes.getInt(at + 1) == size - at - 5) {
        try {
          return devices(at + 5);
        } catch (IOException e) {
          // The bytes only looked like a description.
        }
      }
    }
    return List.of();
  }

  private List<Device> devices(int from) throws IOException {
    try (JsonParser json = JSON.createParser(kept, from, size - from)) {
      return parse(json);
    }
  }

  private static List<Device> parse(JsonParser json) throws IOException {
    List<Device> devices = new ArrayList<>();
    require(json.nextToken() == JsonToken.START_OBJECT);
    while (json.nextToken() == JsonToken.FIELD_NAME) {
      boolean here = json.currentName().equals("devices");
      if (json.nextToken() == JsonToken.START_ARRAY && here) {
        while (json.nextToken() == JsonToken.START_OBJECT) {
          require(devices.size() < MAX_DEVICES);
          devices.add(device(json));
        }
      } else {
        json.skipChildren();
      }
    }
    return devices;
  }

  private static void require(boolean holds) throws IOException {
    if (!holds) {
      throw new IOException("no description of devices");
    }
  }

  private static Device device(JsonParser json) throws IOException {
    String name = "";
    long instance = 0;
    long version = 0;
    long bytes = 0;
    while (json.nextToken() == JsonToken.FIELD_NAME) {
      String key = json.currentName();
      json.nextToken();
      switch (key) {
        case "name" -> name = json.getText();
        case "instance_id" -> instance = json.getValueAsLong();
        case "version" -> version = json.getValueAsLong();
        default -> bytes += stateBytes(key, json);
      }
    }
    return new Device(name, instance, version, bytes);
  }

  /** How many bytes a member of a device or a subsection stands for. */
  private static long stateBytes(String key, JsonParser json) throws IOException {
    long bytes = 0;
    if (json.currentToken() == JsonToken.START_ARRAY
        && (key.equals("fields") || key.equals("subsections"))) {
      while (json.nextToken() == JsonToken.START_OBJECT) {
        bytes += key.equals("fields") ? fieldBytes(json) : subsectionBytes(json);
      }
    } else {
      json.skipChildren();
    }
    return bytes;
  }

  private static long subsectionBytes(JsonParser json) throws IOException {
    long bytes = 0;
    while (json.nextToken() == JsonToken.FIELD_NAME) {
      String key = json.currentName();
      json.nextToken();
      bytes += stateBytes(key, json);
    }
    return bytes;
  }

  /** A field's size has that of the fields in it; of equal elements only the first is described. */
  private static long fieldBytes(JsonParser json) throws IOException {
    long size = 0;
    long elements = 1;
    while (json.nextToken() == JsonToken.FIELD_NAME) {
      String key = json.currentName();
      json.nextToken();
      switch (key) {
        case "size" -> size = json.getValueAsLong();
        case "array_len" -> elements = json.getValueAsLong();
        default -> json.skipChildren();
      }
    }
    return size * elements;
  }
}
