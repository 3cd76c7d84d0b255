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
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * One side of a run of the fault bench: does what a line of JSON on standard input says, and
 * answers each with a line on standard output.
 */
@Command(name = "fault-party", hidden = true)
public final class FaultPartyCommand implements Callable<Integer> {

  private static final String END = "end";

  private final Console console;
  private final LinkedBlockingQueue<String> todo = new LinkedBlockingQueue<>();

  @Option(names = "--role", required = true)
  private String role = "";

  @Option(names = "--seed", required = true)
  private long seed;

  @Option(names = "--run", required = true)
  private int number;

  @Option(names = "--folder", required = true)
  private Path folder = Path.of("");

  /** Made with what it talks to. */
  public FaultPartyCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws Exception {
    Thread.ofPlatform().name("fault-party-input").daemon().start(this::read);
    console.interruption().requests().subscribe(v -> {}, e -> {}, () -> todo.add(END));
    FaultRun run = FaultRun.of(seed, number);
    RunLock lock = new RunLock(folder.resolve("lock"));
    Leaks leaks = new Leaks();
    if (role.equals("source")) {
      try (LocalSource source = new LocalSource(run, lock, console.interruption().requests())) {
        say(message("ready"));
        serve(source, leaks);
      }
    } else {
      try (LocalDestination destination =
          new LocalDestination(
              run, folder, lock, console.interruption().requests(), memory -> {})) {
        say(message("ready"));
        serve(destination, leaks);
      }
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

  private void serve(Side side, Leaks leaks) throws Exception {
    for (String line; !(line = todo.take()).equals(END); ) {
      JsonNode request = new ObjectMapper().readTree(line);
      boolean faulty = request.path("faulty").asBoolean();
      switch (request.path("do").asText()) {
        case "attempt" ->
            ended(((Side.Source) side).attempt(request.path("address").asText(), faulty), leaks);
        case "resume" -> {
          ((Side.Source) side).resume();
          say(message("resumed"));
        }
        case "listen" ->
            say(message("listening").put("address", ((Side.Destination) side).listen(faulty)));
        case "stop" -> {
          ((Side.Destination) side).stopIfNobodyCame();
          say(message("stopped"));
        }
        case "await" -> ended(((Side.Destination) side).await(), leaks);
        case "verify" -> say(message("verified").put("problem", side.verify()));
        default -> throw new IllegalArgumentException("what is " + line);
      }
    }
  }

  private void ended(Ending ending, Leaks leaks) {
    say(
        message("ended")
            .put("how", ending.how().name())
            .put("message", ending.message())
            .put("runs", ending.runs())
            .put("left", leaks.find(ending.runs())));
  }

  private static ObjectNode message(String event) {
    return JsonNodeFactory.instance.objectNode().put("event", event);
  }

  private void say(ObjectNode message) {
    console.out().println(message);
    console.out().flush();
  }
}
