package io.pageflux.examples.demo;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.pageflux.examples.cli.ChildJvm;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/**
 * A process of the demonstration, as the one that started it sees it.
 *
 * <p>It is a JVM like this one, with little memory: a guest's pages must not pile up in it, however
 * large the guest is.
 */
final class ChildProcess implements AutoCloseable {

  /** What a child does. */
  sealed interface Event {

    /** {@return who} */
    ChildProcess child();

    /** It said something. */
    record Said(ChildProcess child, JsonNode message) implements Event {}

    /** It is no more. */
    record Ended(ChildProcess child, int exitCode) implements Event {}
  }

  private static final ObjectMapper MAPPER = new ObjectMapper();
  private static final List<String> JVM_OPTIONS =
      List.of("-Xmx128m", "-XX:MaxDirectMemorySize=128m");

  private final String name;
  private final Process process;

  private ChildProcess(String name, Process process) {
    this.name = name;
    this.process = process;
  }

  /**
   * Starts a process.
   *
   * @param name what it is, for messages
   * @param arguments the command and its arguments
   * @param listener learns what it does, on a thread of its own; the end comes last
   */
  static ChildProcess start(String name, List<String> arguments, Consumer<Event> listener)
      throws IOException {
    List<String> command = new ArrayList<>(ChildJvm.command(JVM_OPTIONS, List.of()));
    command.addAll(arguments);
    Process process =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    ChildProcess child = new ChildProcess(name, process);
    Thread.ofPlatform().name("pageflux-" + name).daemon().start(() -> child.listen(listener));
    return child;
  }

  private void listen(Consumer<Event> listener) {
    try (BufferedReader lines = process.inputReader(StandardCharsets.UTF_8)) {
      for (String line; (line = lines.readLine()) != null; ) {
        listener.accept(new Event.Said(this, parse(line)));
      }
    } catch (IOException e) {
      // It is gone; its exit code says more.
    }
    while (true) {
      try {
        listener.accept(new Event.Ended(this, process.waitFor()));
        return;
      } catch (InterruptedException e) {
        // Nobody interrupts this thread; were it so, the end must be told all the same.
      }
    }
  }

  private static JsonNode parse(String line) {
    try {
      return MAPPER.readTree(line);
    } catch (JsonProcessingException e) {
      return ChildTalk.message("other").put("text", line);
    }
  }

  String name() {
    return name;
  }

  long pid() {
    return process.pid();
  }

  /** Says a line to it. */
  void sayLine() {
    try {
      process.getOutputStream().write('\n');
      process.getOutputStream().flush();
    } catch (IOException e) {
      // It has stopped.
    }
  }

  /** Asks it to stop in order: its standard input ends. */
  void askToStop() {
    try {
      process.getOutputStream().close();
    } catch (IOException e) {
      // It has stopped.
    }
  }

  /** Ends it now if it is still there. */
  @Override
  public void close() {
    process.destroyForcibly();
  }

  /** {@return why it is no more, for people} */
  static String describeEnd(int exitCode) {
    return exitCode > 128
        ? "was ended by signal " + (exitCode - 128)
        : "ended with exit code " + exitCode;
  }
}
