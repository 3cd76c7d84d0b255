package io.pageflux.examples.control;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.pageflux.examples.cli.Failures;
import io.pageflux.examples.report.MigrationJson;
import io.pageflux.migration.MigrationEvent;
import io.pageflux.migration.MigrationStatus;
import io.pageflux.migration.OutgoingControl;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The commands of a migration's control, as JSON: what is asked and what is answered have the forms
 * of QMP, and its names where QMP has the command.
 */
final class ControlCommands {

  static final String EVENTS = "follow-events";

  /** In the order in which they are listed. */
  private static final List<String> NAMES =
      List.of(
          "qmp_capabilities",
          "query-commands",
          "query-migrate",
          "query-migrate-parameters",
          "migrate-set-parameters",
          "migrate-pause",
          "migrate-continue",
          "migrate-start-postcopy",
          "migrate_cancel",
          EVENTS);

  private static final Set<String> TAKE_ARGUMENTS =
      Set.of("migrate-set-parameters", "migrate-continue", "qmp_capabilities");

  private static final String STATE = "state";

  private static final ObjectMapper MAPPER =
      JsonMapper.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private final OutgoingControl control;

  ControlCommands(OutgoingControl control) {
    this.control = control;
  }

  /** A refusal, with QMP's class of it. */
  private static final class Refusal extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private final String errorClass;

    Refusal(String errorClass, String text) {
      super(text, null, false, false);
      this.errorClass = errorClass;
    }
  }

  /** {@return what is said first, so that clients of QMP know where they are} */
  static ObjectNode greeting() {
    ObjectNode greeting = JsonNodeFactory.instance.objectNode();
    ObjectNode qmp = greeting.putObject("QMP");
    ObjectNode version = qmp.putObject("version");
    version.putObject("qemu").put("major", 0).put("minor", 0).put("micro", 0);
    version.put("package", "pageflux");
    qmp.putArray("capabilities");
    return greeting;
  }

  /** {@return the status as it is, in the form of the event that tells of a change; or null} */
  @Nullable ObjectNode status() {
    try {
      return EventJson.of(new MigrationEvent.StatusChanged(control.info().status()), Instant.now())
          .orElse(null);
    } catch (IllegalStateException e) {
      return null; // There is none yet.
    }
  }

  static ObjectNode error(String errorClass, String text) {
    ObjectNode answer = JsonNodeFactory.instance.objectNode();
    answer.putObject("error").put("class", errorClass).put("desc", text);
    return answer;
  }

  /**
   * Executes a command. {@return the answer, whatever the line is}
   *
   * @param follow called if the controller asks for events
   */
  ObjectNode answer(String line, Runnable follow) {
    JsonNode id = null;
    ObjectNode answer;
    try {
      JsonNode request = parse(line);
      id = request.get("id");
      JsonNode result = execute(request, follow);
      answer = JsonNodeFactory.instance.objectNode();
      answer.set("return", result);
    } catch (Refusal e) {
      answer = error(e.errorClass, String.valueOf(e.getMessage()));
    } catch (IllegalStateException | IllegalArgumentException e) {
      answer = error("GenericError", String.valueOf(e.getMessage()));
    } catch (RuntimeException e) {
      answer = error("GenericError", Failures.describe(e));
    }
    if (id != null) {
      answer.set("id", id);
    }
    return answer;
  }

  private static JsonNode parse(String line) {
    JsonNode request;
    try {
      request = MAPPER.readTree(line);
    } catch (JsonProcessingException e) {
      throw new Refusal(
          "GenericError",
          "a command is one JSON object on one line, but it was: " + Lines.excerpt(line));
    }
    if (request == null || !request.isObject()) {
      throw new Refusal(
          "GenericError", "a command is a JSON object, but it was: " + Lines.excerpt(line));
    }
    return request;
  }

  private JsonNode execute(JsonNode request, Runnable follow) {
    for (Map.Entry<String, JsonNode> member : request.properties()) {
      switch (member.getKey()) {
        case "execute", "arguments", "id" -> {}
        default ->
            throw new Refusal(
                "GenericError",
                "a command has execute, arguments and id, but this one has '%s'"
                    .formatted(Lines.excerpt(member.getKey())));
      }
    }
    JsonNode arguments =
        request.has("arguments")
            ? request.path("arguments")
            : JsonNodeFactory.instance.objectNode();
    if (!request.path("execute").isTextual() || !arguments.isObject()) {
      throw new Refusal(
          "GenericError", "a command names what to execute, and its arguments are an object");
    }
    String name = request.path("execute").asText();
    if (!TAKE_ARGUMENTS.contains(name) && NAMES.contains(name) && !arguments.isEmpty()) {
      throw new Refusal("GenericError", name + " takes no arguments");
    }
    return execute(name, arguments, follow);
  }

  /**
   * As in QEMU, who continues a migration may say in which state it is thought to be: {@code
   * pre-switchover}, or {@code paused}, which is Pageflux's own. Otherwise it is continued in
   * whichever it is.
   */
  private void goOn(JsonNode arguments) {
    for (Map.Entry<String, JsonNode> argument : arguments.properties()) {
      if (!argument.getKey().equals(STATE)) {
        throw new Refusal(
            "GenericError",
            "migrate-continue takes '%s' only, but this one has '%s'"
                .formatted(STATE, Lines.excerpt(argument.getKey())));
      }
    }
    if (!arguments.has(STATE)) {
      if (control.info().status() == MigrationStatus.PRE_SWITCHOVER) {
        control.continueMigration();
      } else {
        control.resume();
      }
      return;
    }
    String state = arguments.path(STATE).asText();
    if (state.equals(MigrationStatus.PRE_SWITCHOVER.qemuName())) {
      control.continueMigration();
    } else if (state.equals(MigrationStatus.PAUSED.qemuName())) {
      control.resume();
    } else {
      throw new Refusal(
          "GenericError",
          "a migration is continued in the state %s or %s, but '%s' was %s"
              .formatted(
                  MigrationStatus.PRE_SWITCHOVER.qemuName(),
                  MigrationStatus.PAUSED.qemuName(),
                  STATE,
                  Lines.excerpt(arguments.path(STATE).toString())));
    }
  }

  private JsonNode execute(String name, JsonNode arguments, Runnable follow) {
    switch (name) {
      case "query-migrate" -> {
        return MigrationJson.of(control.info());
      }
      case "query-migrate-parameters" -> {
        return ParameterNames.json(control.parameters());
      }
      case "query-commands" -> {
        var list = JsonNodeFactory.instance.arrayNode();
        NAMES.forEach(command -> list.addObject().put("name", command));
        return list;
      }
      case "migrate-set-parameters" ->
          control.set(before -> ParameterNames.change(before, arguments));
      case "migrate-pause" -> control.pause();
      case "migrate-continue" -> goOn(arguments);
      case "migrate-start-postcopy" -> control.startPostcopy();
      case "migrate_cancel" -> control.cancel();
      case "qmp_capabilities" -> {}
      case EVENTS -> follow.run();
      default ->
          throw new Refusal(
              "CommandNotFound",
              "there is no command '%s'; there are: %s"
                  .formatted(Lines.excerpt(name), String.join(", ", NAMES)));
    }
    return JsonNodeFactory.instance.objectNode();
  }
}
