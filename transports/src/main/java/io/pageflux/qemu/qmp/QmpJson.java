package io.pageflux.qemu.qmp;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** JSON as QMP has it: one object per line, strict, and not nested without end. */
final class QmpJson {

  /** A chain of disk images nests by two for each image; nothing else nests half as deeply. */
  static final int MAX_DEPTH = 512;

  private static final ObjectMapper MAPPER =
      JsonMapper.builder(
              JsonFactory.builder()
                  .streamReadConstraints(
                      StreamReadConstraints.builder().maxNestingDepth(MAX_DEPTH).build())
                  .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                  .build())
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private QmpJson() {}

  static ObjectNode object() {
    return MAPPER.createObjectNode();
  }

  /**
   * {@return the object of a line}
   *
   * @throws JsonProcessingException if it is no JSON; its original message says why
   */
  static @Nullable ObjectNode parse(String line) throws JsonProcessingException {
    return MAPPER.readTree(line) instanceof ObjectNode object ? object : null;
  }

  /**
   * {@return a command as it is sent, with its line's end}
   *
   * @param arguments values are strings, numbers, booleans, lists and maps of them, or JSON nodes
   * @throws IllegalArgumentException if a value is something else
   */
  static String command(String name, Map<String, ?> arguments, long id) {
    ObjectNode command = MAPPER.createObjectNode().put("execute", name);
    if (!arguments.isEmpty()) {
      JsonNode tree = MAPPER.valueToTree(arguments);
      command.set("arguments", tree);
    }
    return command.put("id", id) + "\r\n";
  }
}
