package io.pageflux.examples.fault;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.ExitCode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import java.util.concurrent.LinkedBlockingQueue;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import reactor.core.publisher.Mono;

/**
 * One side of runs of the fault bench, one run after the other: does what a line of JSON on
 * standard input says, and answers each with a line on standard output.
 */
@Command(name = "fault-party", hidden = true)
public final class FaultPartyCommand implements Callable<Integer> {

  private static final String END = "end of input";

  private final Console console;
  private final LinkedBlockingQueue<String> todo = new LinkedBlockingQueue<>();
  private Leaks leaks = new Leaks(false);
  private @Nullable Side side;
  private boolean awaited = true;
  private final MemoryHog hog = new MemoryHog();

  /** Made with what it talks to. */
  public FaultPartyCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws Exception {
    Thread.ofPlatform().name("fault-party-input").daemon().start(this::read);
    console.interruption().requests().subscribe(v -> {}, e -> {}, () -> todo.add(END));
    say(message("ready"));
    ObjectMapper mapper = new ObjectMapper();
    for (String line; !(line = todo.take()).equals(END); ) {
      obey(mapper.readTree(line));
    }
    // Who is interrupted while the guest comes says how that ended.
    if (!awaited && side instanceof Side.Destination destination) {
      ended(destination.await());
    }
    return console.interruption().requested() ? ExitCode.INTERRUPTED : ExitCode.OK;
  }

  private void read() {
    try (BufferedReader lines =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
      for (String line; (line = lines.readLine()) != null; ) {
        todo.add(line);
      }
    } catch (IOException e) {
      // Who talked to this process is gone.
    }
    todo.add(END);
  }

  private void obey(JsonNode request) {
    boolean faulty = request.path("faulty").asBoolean();
    switch (request.path("do").asText()) {
      case "begin" -> begin(request);
      case "starve" -> {
        hog.take(request.path("heap").asBoolean(), request.path("left").asLong());
        say(message("starving"));
      }
      case "attempt" -> ended(source().attempt(request.path("address").asText(), faulty));
      case "resume" -> {
        source().resume();
        say(message("resumed"));
      }
      case "keep" -> {
        source().keep(Path.of(request.path("file").asText()));
        say(message("kept"));
      }
      case "fill" -> {
        destination().fill(Path.of(request.path("file").asText()));
        say(message("filled"));
      }
      case "listen" -> {
        awaited = false;
        say(message("listening").put("address", destination().listen(faulty)));
      }
      case "stop" -> destination().stopIfNobodyCame();
      case "await" -> {
        Ending ending = destination().await();
        awaited = true;
        ended(ending);
      }
      case "take over" -> say(message("taken over").put("problem", destination().takeOver()));
      case "verify" -> say(message("verified").put("problem", current().verify()));
      case "over" -> say(message("over").put("left", current().end() + leaks.find()));
      default -> throw new IllegalArgumentException("what is " + request);
    }
  }

  private void begin(JsonNode request) {
    leaks = new Leaks(false);
    FaultRun run = FaultRun.of(request.path("seed").asLong(), request.path("run").asInt());
    Path folder = Path.of(request.path("folder").asText());
    RunLock lock = new RunLock(folder.resolve(RunFolder.LOCK));
    Mono<Void> stop = console.interruption().requests();
    side =
        request.path("role").asText().equals("source")
            ? source(run, folder, lock, stop)
            : destination(run, folder, lock, stop);
    say(message("begun"));
  }

  private Side source(FaultRun run, Path folder, RunLock lock, Mono<Void> stop) {
    return run.scenario().ofCheckpoints()
        ? new CheckpointSource(run, folder, lock, stop, this::striking)
        : new LocalSource(run, lock, stop, this::striking);
  }

  private Side destination(FaultRun run, Path folder, RunLock lock, Mono<Void> stop) {
    return run.scenario().ofCheckpoints()
        ? new CheckpointDestination(run, folder, lock, stop)
        : new LocalDestination(run, folder, lock, stop, this::striking, memory -> {});
  }

  private void striking() {
    say(message(PartyProcess.STRIKING));
  }

  private Side current() {
    Side begun = side;
    if (begun == null) {
      throw new IllegalStateException("no run has begun");
    }
    return begun;
  }

  private Side.Source source() {
    return (Side.Source) current();
  }

  private Side.Destination destination() {
    return (Side.Destination) current();
  }

  private void ended(Ending ending) {
    say(
        message("ended")
            .put("how", ending.how().name())
            .put("message", ending.message())
            .put("runs", ending.runs())
            .put("agreed", ending.agreed()));
  }

  private static ObjectNode message(String event) {
    return JsonNodeFactory.instance.objectNode().put("event", event);
  }

  private synchronized void say(ObjectNode message) {
    console.out().println(message);
    console.out().flush();
  }
}
