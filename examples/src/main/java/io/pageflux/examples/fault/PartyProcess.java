package io.pageflux.examples.fault;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.pageflux.examples.cli.ChildJvm;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/** A side that is a process, as the bench sees it. */
final class PartyProcess implements AutoCloseable {

  /** The JVM of a side, small and quick to start. */
  static final List<String> JVM =
      ChildJvm.command(
          List.of(),
          List.of(
              "-XX:TieredStopAtLevel=1",
              "-XX:+SuppressFatalErrorMessage", // of a process that gets no memory
              "-Xmx96m",
              "-XX:MaxDirectMemorySize=96m"));

  private static final ObjectMapper MAPPER = new ObjectMapper();
  private static final String END = "\0end";

  /** Where a destination's memory is that is in a file. */
  static final String SMALL_DISK = "disk";

  /** What a side says when what is to happen does. */
  static final String STRIKING = "it happens";

  private final Process process;
  private final LinkedBlockingQueue<String> answers = new LinkedBlockingQueue<>();
  private volatile Runnable striking = () -> {};

  private PartyProcess(Process process) {
    this.process = process;
    Thread.ofVirtual().start(this::read);
  }

  static PartyProcess start() {
    return start(List.of());
  }

  /**
   * Starts one on whose disk there is little room, in a file system of its own that ends with it.
   * {@return the process; null if this machine does not allow it}
   */
  static @Nullable PartyProcess startOnSmallDisk(Path disk, long bytes) {
    String script = "mount -t tmpfs -o size=%d none '%s' && exec \"$@\"".formatted(bytes, disk);
    try {
      return start(List.of("unshare", "-rm", "sh", "-c", script, "sh"));
    } catch (IllegalStateException | UncheckedIOException e) {
      return null;
    }
  }

  private static PartyProcess start(List<String> before) {
    List<String> command = new ArrayList<>(before);
    command.addAll(JVM);
    command.add("fault-party");
    try {
      PartyProcess started =
          new PartyProcess(
              new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start());
      if (started.await("ready") == null) {
        started.close();
        throw new IllegalStateException("a process does not start");
      }
      return started;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private void read() {
    try (BufferedReader lines = process.inputReader(StandardCharsets.UTF_8)) {
      for (String line; (line = lines.readLine()) != null; ) {
        if (line.contains(STRIKING)) {
          striking.run();
        } else {
          answers.add(line);
        }
      }
    } catch (IOException e) {
      // It is gone.
    }
    answers.add(END);
  }

  static ObjectNode request(String what) {
    return JsonNodeFactory.instance.objectNode().put("do", what);
  }

  /** Asks for something. {@return the answer; null if it has died} */
  @Nullable JsonNode ask(ObjectNode request, String answer) {
    say(request);
    return await(answer);
  }

  void say(ObjectNode request) {
    try {
      OutputStream in = process.getOutputStream();
      in.write((request + "\n").getBytes(StandardCharsets.UTF_8));
      in.flush();
    } catch (IOException e) {
      // It has died.
    }
  }

  /** What did not come within the limit is as dead as what did not come at all, but told apart. */
  @Nullable JsonNode await(String event) {
    long end = System.nanoTime() + Side.LIMIT.plusSeconds(5).toNanos();
    try {
      while (true) {
        String line = answers.poll(end - System.nanoTime(), TimeUnit.NANOSECONDS);
        if (line == null) {
          return MAPPER.createObjectNode().put("how", Ending.How.HANGS.name());
        }
        if (line.equals(END)) {
          answers.add(END);
          return null;
        }
        JsonNode message = line.startsWith("{") ? MAPPER.readTree(line) : null;
        if (message != null && message.path("event").asText().equals(event)) {
          return message;
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return null;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** {@return how an attempt ended, as the process says} */
  Ending ending(@Nullable JsonNode answer) {
    if (answer == null) {
      return Ending.died("the process ended with code " + exitCode());
    }
    return new Ending(
        Ending.How.valueOf(answer.path("how").asText()),
        answer.path("message").asText(),
        answer.path("runs").asBoolean(),
        answer.path("agreed").asBoolean());
  }

  private int exitCode() {
    try {
      return process.waitFor(Side.LIMIT.toSeconds(), TimeUnit.SECONDS) ? process.exitValue() : -1;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return -1;
    }
  }

  /** Has something done as soon as the process says that what is to happen does. */
  void whenStriking(Runnable action) {
    striking = action;
  }

  /** Ends a run. {@return what is left of it, or nothing; as of a process that has died} */
  String end() {
    JsonNode answer = ask(request("over"), "over");
    striking = () -> {};
    if (answer != null && answer.has("how")) {
      close();
      return "it hangs when the run is over";
    }
    return answer == null ? "" : answer.path("left").asText();
  }

  /** As {@code kill -TERM} does. */
  void interrupt() {
    process.destroy();
  }

  /** As {@code kill -KILL} does. */
  void kill() {
    process.destroyForcibly();
  }

  long pid() {
    return process.pid();
  }

  boolean isAlive() {
    return process.isAlive();
  }

  /** Runs a program with the process's number. {@return whether it succeeded} */
  static boolean run(String... command) {
    try {
      return new ProcessBuilder(command)
              .redirectErrorStream(true)
              .redirectOutput(ProcessBuilder.Redirect.DISCARD)
              .start()
              .waitFor()
          == 0;
    } catch (IOException e) {
      return false;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    }
  }

  @Override
  public void close() {
    process.destroyForcibly();
    exitCode();
  }
}
