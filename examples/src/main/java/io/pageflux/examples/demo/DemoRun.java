package io.pageflux.examples.demo;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.pageflux.examples.cli.CliException;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.examples.report.ProgressDisplay;
import java.io.IOException;
import java.io.PrintStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;

/**
 * One run of the demonstration: starts the destination, then the source, listens to both, and sees
 * to it that both have ended when it returns.
 *
 * <p>Everything is decided by the calling thread, which takes what happens from a queue.
 */
final class DemoRun {

  private static final Duration STOP_PATIENCE = Duration.ofSeconds(10);

  /**
   * Either what a child did, or null, which {@link #queue} cannot hold: an interruption; or a wish
   * for a checkpoint.
   */
  private record Happening(ChildProcess.@Nullable Event event, boolean checkpoint) {
    Happening(ChildProcess.@Nullable Event event) {
      this(event, false);
    }
  }

  private final Console console;
  private final DemoOptions options;
  private final PrintStream people;
  private final ProgressDisplay progress;
  private final LinkedBlockingQueue<Happening> queue = new LinkedBlockingQueue<>();
  private final Map<String, JsonNode> said = new HashMap<>();
  private final List<String> failures = new ArrayList<>();
  private final List<ChildProcess> alive = new ArrayList<>();
  private final CheckpointDemoReport checkpoints = new CheckpointDemoReport();
  private boolean stopping;
  private boolean interrupted;
  private boolean killed;
  private long stopDeadline;

  /**
   * @param people where people read
   */
  DemoRun(Console console, DemoOptions options, PrintStream people) {
    this.console = console;
    this.options = options;
    this.people = people;
    this.progress = ProgressDisplay.onStandardError(console.err());
  }

  /**
   * What the two processes said last of each kind.
   *
   * @param said messages by kind
   * @param checkpoints those that were taken, if any were to be
   * @param failure why it did not work; null if it did
   * @param exitCode what to exit with
   */
  record Result(
      Map<String, JsonNode> said,
      CheckpointDemoReport checkpoints,
      @Nullable String failure,
      int exitCode) {
    JsonNode message(String event) {
      JsonNode message = said.get(event);
      return message == null ? JsonNodeFactory.instance.objectNode() : message;
    }
  }

  Result run() throws IOException {
    Disposable interruption =
        console
            .interruption()
            .requests()
            .subscribe(v -> {}, e -> {}, () -> queue.add(new Happening(null)));
    if (options.checkpoints().onEnter()) {
      listenToPeople();
    }
    try {
      start("destination", command("destination"), List.of());
      while (!alive.isEmpty()) {
        take();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      failures.add("interrupted");
    } finally {
      interruption.dispose();
      progress.clear();
      alive.forEach(ChildProcess::close);
    }
    return result();
  }

  private void listenToPeople() {
    Thread.ofPlatform()
        .name("pageflux-enter")
        .daemon()
        .start(
            () -> {
              try {
                for (int next; (next = System.in.read()) >= 0; ) {
                  if (next == '\n') {
                    queue.add(new Happening(null, true));
                  }
                }
              } catch (IOException e) {
                // Nobody asks any more.
              }
            });
  }

  private void start(String name, String command, List<String> more) throws IOException {
    List<String> arguments = new ArrayList<>();
    arguments.add(command);
    arguments.addAll(options.arguments());
    arguments.addAll(more);
    alive.add(ChildProcess.start(name, arguments, event -> queue.add(new Happening(event))));
  }

  private void take() throws InterruptedException, IOException {
    Happening next;
    if (stopping) {
      next = queue.poll(stopDeadline - System.nanoTime(), TimeUnit.NANOSECONDS);
      if (next == null) {
        failures.add("the processes did not stop in order and were ended");
        alive.forEach(ChildProcess::close);
        stopDeadline = Long.MAX_VALUE / 2 + System.nanoTime();
        return;
      }
    } else {
      next = queue.take();
    }
    if (next.checkpoint()) {
      alive.stream().filter(child -> child.name().equals("source")).forEach(ChildProcess::sayLine);
      return;
    }
    switch (next.event()) {
      case null -> {
        interrupted = true;
        stop();
      }
      case ChildProcess.Event.Said event -> heard(event.child(), event.message());
      case ChildProcess.Event.Ended event -> ended(event.child(), event.exitCode());
    }
  }

  private void heard(ChildProcess child, JsonNode message) throws IOException {
    String event = message.path(ChildTalk.EVENT).asText();
    said.put(event.equals("failed") ? child.name() + "-failed" : event, message);
    switch (event) {
      case "listening" -> {
        if (!stopping) {
          start(
              "source",
              command("source"),
              List.of("--connect=" + message.path("address").asText()));
        }
      }
      case "guest" -> people.println(DemoReport.started(options, message, pids()));
      case "checkpoint" -> {
        people.println(CheckpointDemoReport.line(message));
        if (checkpoints.add(message) >= options.checkpoints().count() && !killed) {
          killed = true;
          child.close();
        }
      }
      case "progress" -> progress.show(message.path("info"), message.path("round").asInt());
      case "failed" -> {
        String failure = "the %s: %s".formatted(child.name(), message.path("message").asText());
        if (message.has("verified")) {
          // Why it is so; what the other one reports is a consequence of this.
          failures.addFirst(failure + DemoReport.atSource(message));
        } else {
          failures.add(failure);
        }
        stop();
      }
      case "other" -> {
        progress.clear();
        console.err().println(message.path("text").asText());
      }
      default -> {}
    }
  }

  private String command(String side) {
    return (options.checkpoints().isGiven() ? "demo-checkpoint-" : "demo-") + side;
  }

  private String pids() {
    List<String> texts = new ArrayList<>();
    alive.forEach(child -> texts.add(child.name() + " is process " + child.pid()));
    return String.join(", ", texts);
  }

  private void ended(ChildProcess child, int exitCode) {
    alive.remove(child);
    boolean spoke =
        said.containsKey(child.name() + "-failed")
            || said.containsKey(child.name().equals("source") ? "completed" : "verified")
            || killed && child.name().equals("source");
    if (!spoke) {
      // What the other one reports is a consequence of this.
      failures.addFirst(
          "the %s process %s".formatted(child.name(), ChildProcess.describeEnd(exitCode)));
      stop();
    }
  }

  /** Lets both end in order, the source first: it is the one that has the guest. */
  private void stop() {
    if (!stopping) {
      stopping = true;
      stopDeadline = System.nanoTime() + STOP_PATIENCE.toNanos();
      alive.reversed().forEach(ChildProcess::askToStop);
    }
  }

  private Result result() {
    if (interrupted) {
      JsonNode failed = said.get("source-failed");
      String guest =
          failed == null
              ? ""
              : failed.path("guest-running").asBoolean()
                  ? ": the guest went on at the source until the demonstration ended"
                  : ": the guest was being handed over";
      return new Result(said, checkpoints, "interrupted" + guest, ExitCode.INTERRUPTED);
    }
    JsonNode verified = said.get("verified");
    if (failures.isEmpty() && verified != null && !verified.path("ok").asBoolean()) {
      failures.add(
          "the guest is not what it was: "
              + (verified.path("findings").isEmpty()
                  ? "updates were lost"
                  : verified.path("findings").path(0).asText()));
    }
    if (failures.isEmpty()
        && (verified == null || said.get(killed ? "taken-over" : "completed") == null)) {
      failures.add("the processes ended without saying how it went");
    }
    JsonNode over = said.get("taken-over");
    if (failures.isEmpty()
        && killed
        && over != null
        && over.path("number").asLong() < checkpoints.newest()) {
      failures.add("the guest went on from a checkpoint that is older than the newest one");
    }
    return failures.isEmpty()
        ? new Result(said, checkpoints, null, ExitCode.OK)
        : new Result(said, checkpoints, failures.getFirst(), ExitCode.FAILED);
  }

  /** {@return the failure of a result, to be thrown} */
  static CliException failure(Result result) {
    return new CliException(String.valueOf(result.failure()), result.exitCode());
  }
}
