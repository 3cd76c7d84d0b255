package io.pageflux.examples.control;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.pageflux.MigrationException;
import io.pageflux.examples.cli.CliException;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.examples.cli.Failures;
import io.pageflux.examples.report.MigrationSummary;
import io.pageflux.qemu.qmp.QmpAddress;
import io.pageflux.qemu.qmp.QmpClient;
import io.pageflux.qemu.qmp.QmpError;
import io.pageflux.qemu.qmp.QmpEvent;
import io.pageflux.qemu.qmp.QmpSpec;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.TypeConversionException;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** {@code pageflux ctl}. */
@Command(
    name = "ctl",
    header = "Control a running 'pageflux send --control': query, set, pause, continue, cancel.",
    description = {
      "set takes NAME=VALUE...: max-bandwidth (bytes per second, 0 for no limit),"
          + " downtime-limit (milliseconds, or with a unit), multifd-compression (none, zstd),"
          + " multifd-zstd-level, compress-threads, xbzrle-cache-size (bytes, 0 for no deltas)."
          + " The first two hold at once, the others from the next round on. Of a migration with"
          + " --auto-converge also, in percent: throttle-trigger-threshold, cpu-throttle-initial,"
          + " cpu-throttle-increment, max-cpu-throttle; and cpu-throttle-tailslow (on, off).",
      "continue has a migration go on that was paused, or that waits before its switch-over: 'send"
          + " --pause-before-switchover'.",
      "postcopy lets the guest go on at the destination before all of its memory is there, if both"
          + " sides can: that is for 'pageflux demo --postcopy --control'.",
      "events prints what happens until the migration ends. Several may control at a time: what they"
          + " set is done one after the other, all of a command or nothing."
    })
public final class CtlCommand implements Callable<Integer> {

  /** What there is to do. */
  enum Action {
    QUERY,
    SET,
    PAUSE,
    CONTINUE,
    POSTCOPY,
    CANCEL,
    EVENTS
  }

  private static final ObjectMapper MAPPER = new ObjectMapper();
  private static final Duration PATIENCE = Duration.ofSeconds(10);

  private final Console console;

  @Parameters(
      index = "0",
      paramLabel = "PATH",
      description = "The socket of 'pageflux send --control'; unix:PATH is taken too.")
  private String path = "";

  @Parameters(
      index = "1",
      paramLabel = "ACTION",
      description = "query, set, pause, continue, postcopy, cancel or events.")
  private Action action = Action.QUERY;

  @Parameters(index = "2..*", paramLabel = "NAME=VALUE", description = "What to set.")
  private List<String> settings = List.of();

  @Option(names = "--json", description = "Print answers as JSON.")
  private boolean json;

  /** Made with what it talks to. */
  public CtlCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    if (action == Action.SET == settings.isEmpty()) {
      throw new CliException(
          action == Action.SET
              ? "set needs NAME=VALUE, such as max-bandwidth=100m"
              : "NAME=VALUE is for set only",
          ExitCode.USAGE);
    }
    QmpSpec spec = spec();
    try {
      Flux.usingWhen(QmpClient.connect(spec), this::act, QmpClient::close).blockLast();
      return ExitCode.OK;
    } catch (RuntimeException e) {
      throw explain(e);
    }
  }

  private QmpSpec spec() {
    try {
      Path socket = Path.of(path.startsWith("unix:") ? path.substring("unix:".length()) : path);
      return QmpSpec.of(new QmpAddress.Unix(socket)).withTimeout(PATIENCE);
    } catch (IllegalArgumentException e) {
      throw new CliException(Failures.describe(e), ExitCode.USAGE);
    }
  }

  private Flux<?> act(QmpClient client) {
    return switch (action) {
      case QUERY -> query(client).flux();
      case SET ->
          client
              .execute("migrate-set-parameters", arguments())
              .then(client.execute("query-migrate-parameters"))
              .doOnNext(this::printMembers)
              .flux();
      case PAUSE -> client.execute("migrate-pause").doOnNext(this::printJson).flux();
      case CONTINUE -> client.execute("migrate-continue").doOnNext(this::printJson).flux();
      case POSTCOPY -> client.execute("migrate-start-postcopy").doOnNext(this::printJson).flux();
      case CANCEL -> client.execute("migrate_cancel").doOnNext(this::printJson).flux();
      case EVENTS ->
          Flux.merge(
              client
                  .events()
                  // The end of the migration is that of the connection.
                  .onErrorComplete(e -> isKind(e, MigrationException.Kind.TRANSPORT))
                  .takeUntilOther(console.interruption().requests())
                  .doOnNext(this::printEvent),
              client.execute(ControlCommands.EVENTS));
    };
  }

  private static boolean isKind(Throwable e, MigrationException.Kind kind) {
    return e instanceof MigrationException known && known.kind() == kind;
  }

  private Map<String, Object> arguments() {
    Map<String, Object> arguments = new LinkedHashMap<>();
    try {
      settings.forEach(setting -> ParameterNames.put(arguments, setting));
    } catch (IllegalArgumentException | TypeConversionException e) {
      throw new CliException(String.valueOf(e.getMessage()), ExitCode.USAGE);
    }
    return arguments;
  }

  private Mono<JsonNode> query(QmpClient client) {
    return client
        .execute("query-migrate")
        .zipWith(client.execute("query-migrate-parameters"))
        .map(
            both -> {
              ObjectNode all = JsonNodeFactory.instance.objectNode();
              all.setAll((ObjectNode) both.getT1());
              all.set("parameters", both.getT2());
              return (JsonNode) all;
            })
        .doOnNext(
            all -> {
              if (json) {
                printJson(all);
                return;
              }
              console.out().println("status: " + all.path("status").asText());
              printMembers(all.path("parameters"));
              MigrationSummary.rounds(all).forEach(console.out()::println);
              MigrationSummary.totals(all).forEach(console.out()::println);
            });
  }

  /** Prints an object's members, each on a line; as JSON if that is wanted. */
  private void printMembers(JsonNode object) {
    if (json) {
      printJson(object);
    } else {
      object
          .properties()
          .forEach(
              member -> console.out().println(member.getKey() + ": " + member.getValue().asText()));
    }
  }

  private void printEvent(QmpEvent event) {
    if (json) {
      Map<String, Object> line = new LinkedHashMap<>();
      line.put("event", event.name());
      line.put("data", event.data());
      line.put("timestamp", event.timestamp().toString());
      console.out().println(MAPPER.valueToTree(line).toString());
    } else {
      StringBuilder text = new StringBuilder(event.timestamp() + " " + event.name());
      event
          .data()
          .properties()
          .forEach(
              member ->
                  text.append(' ').append(member.getKey()).append('=').append(member.getValue()));
      console.out().println(text);
    }
    console.out().flush();
  }

  private void printJson(JsonNode node) {
    if (json) {
      try {
        console.out().println(MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(node));
      } catch (JsonProcessingException e) {
        throw new IllegalStateException(e);
      }
    }
  }

  private CliException explain(RuntimeException failure) {
    Throwable e = Failures.unwrap(failure);
    if (e instanceof CliException known) {
      return known;
    }
    if (e.getCause() instanceof QmpError refused) {
      return new CliException(refused.description(), failure);
    }
    String reason = reason(e.getCause());
    if (reason != null && reason.toLowerCase(Locale.ROOT).contains("permission denied")) {
      return new CliException(
          "this user may not control the migration at %s: only the one that runs it may"
              .formatted(path),
          failure);
    }
    return isKind(e, MigrationException.Kind.TRANSPORT)
        ? new CliException(
            "no 'pageflux send --control' can be reached at %s%s"
                .formatted(path, reason == null ? "" : ": " + reason),
            failure)
        : new CliException(Failures.describe(e), failure);
  }

  private static @Nullable String reason(@Nullable Throwable cause) {
    return cause == null ? null : Failures.describe(cause);
  }
}
