package io.pageflux.examples.control;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.pageflux.migration.MigrationEvent;
import java.time.Instant;
import java.util.Optional;

/**
 * A migration's events with the form of QMP's: {@code MIGRATION} and {@code MIGRATION_PASS} are
 * QEMU's own, the others begin with {@code PAGEFLUX_}.
 */
final class EventJson {

  private EventJson() {}

  /** {@return an event; empty for progress, which {@code query-migrate} tells of} */
  static Optional<ObjectNode> of(MigrationEvent event, Instant now) {
    return switch (event) {
      case MigrationEvent.StatusChanged changed -> {
        ObjectNode data = data();
        data.put("status", changed.status().qemuName());
        yield event("MIGRATION", data, now);
      }
      case MigrationEvent.RoundStarted started -> {
        ObjectNode data = data();
        data.put("pass", started.round());
        data.put("last", started.last());
        data.put("dirty", started.dirtyPages());
        yield event("MIGRATION_PASS", data, now);
      }
      case MigrationEvent.Convergence convergence -> {
        ObjectNode data = data();
        data.put("step", convergence.step().kind().text());
        data.put("what", convergence.step().what());
        data.put("why", convergence.step().why());
        yield event("PAGEFLUX_STEP", data, now);
      }
      case MigrationEvent.ParametersChanged changed -> {
        ObjectNode data = ParameterNames.json(changed.parameters());
        if (!changed.refused().isEmpty()) {
          data.put("refused", changed.refused());
        }
        yield event("PAGEFLUX_PARAMETERS", data, now);
      }
      case MigrationEvent.SwitchOver switchOver -> {
        ObjectNode data = data();
        data.put("reason", switchOver.reason());
        yield event("PAGEFLUX_SWITCHOVER", data, now);
      }
      default -> Optional.empty();
    };
  }

  private static ObjectNode data() {
    return JsonNodeFactory.instance.objectNode();
  }

  private static Optional<ObjectNode> event(String name, ObjectNode data, Instant now) {
    ObjectNode event = JsonNodeFactory.instance.objectNode();
    event.put("event", name);
    event.set("data", data);
    event
        .putObject("timestamp")
        .put("seconds", now.getEpochSecond())
        .put("microseconds", now.getNano() / 1000);
    return Optional.of(event);
  }
}
