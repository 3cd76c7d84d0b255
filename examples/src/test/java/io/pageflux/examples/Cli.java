package io.pageflux.examples;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.examples.cli.ChildJvm;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.Interruption;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The command line, as a user starts it: in a process of its own, or, where that makes no
 * difference but for the time it takes, {@linkplain #call in this one}.
 */
final class Cli implements AutoCloseable {

  /** So long that only a hang reaches it. */
  private static final long HANG_SECONDS = 90;

  /** Compiles little; what is short is over sooner. */
  private static final String QUICK_TO_START = "-XX:TieredStopAtLevel=1";

  private static final String END = "\0end";

  private final Process process;
  private final List<String> out = new CopyOnWriteArrayList<>();
  private final List<String> err = new CopyOnWriteArrayList<>();
  private final LinkedBlockingQueue<String> newLines = new LinkedBlockingQueue<>();
  private final List<Thread> readers = new ArrayList<>();

  private Cli(Process process) {
    this.process = process;
    readers.add(read(process.inputReader(StandardCharsets.UTF_8), out, newLines));
    readers.add(
        read(process.errorReader(StandardCharsets.UTF_8), err, new LinkedBlockingQueue<>()));
  }

  /** What came of a process. */
  record Result(int exitCode, List<String> out, List<String> err) {

    String stdout() {
      return String.join("\n", out);
    }

    /** Progress is no message. */
    List<String> messages() {
      return err.stream().filter(line -> !line.matches(" *[0-9]+ % .*")).toList();
    }

    /** Checks that it failed as it is to: with an exit code, and one line. */
    void isFailure(int expectedExitCode, String... parts) {
      assertThat(messages()).as("standard error; output: %s", out).hasSize(1);
      assertThat(messages().getFirst()).startsWith("pageflux: ").contains(parts);
      assertThat(exitCode).isEqualTo(expectedExitCode);
    }
  }

  static Cli start(String... arguments) throws IOException {
    return startBy(List.of(), arguments);
  }

  /** Has the command line started by a command, such as one that gives away what root may. */
  static Cli startBy(List<String> starter, String... arguments) throws IOException {
    List<String> command = new ArrayList<>(starter);
    List<String> jvm = jvm(ClassArchive.classPath());
    command.add(jvm.getFirst());
    command.addAll(ClassArchive.options());
    command.addAll(jvm.subList(1, jvm.size()));
    command.addAll(List.of(arguments));
    ProcessBuilder builder = new ProcessBuilder(command);
    // For those that it starts.
    List<String> theirs = new ArrayList<>(ClassArchive.options());
    theirs.add(QUICK_TO_START);
    builder.environment().put("PAGEFLUX_JAVA_OPTS", String.join(" ", theirs));
    return new Cli(builder.start());
  }

  /** {@return how the command line is started, up to its arguments} */
  static List<String> jvm(String classPath) {
    List<String> command = new ArrayList<>(ChildJvm.java());
    command.addAll(
        List.of(
            QUICK_TO_START,
            "-Xmx128m",
            "-XX:MaxDirectMemorySize=128m",
            "-cp",
            classPath,
            "io.pageflux.examples.Main"));
    return command;
  }

  static Result run(String... arguments) throws Exception {
    try (Cli cli = start(arguments)) {
      return cli.result();
    }
  }

  /** Runs a command, which starts no process and ends by itself, in this process. */
  static Result call(String... arguments) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    Console console =
        new Console(
            new PrintStream(out, true, StandardCharsets.UTF_8),
            new PrintStream(err, true, StandardCharsets.UTF_8),
            new Interruption());
    int exitCode = Main.run(console, arguments);
    return new Result(
        exitCode,
        out.toString(StandardCharsets.UTF_8).lines().toList(),
        err.toString(StandardCharsets.UTF_8).lines().toList());
  }

  private static Thread read(
      BufferedReader lines, List<String> kept, LinkedBlockingQueue<String> queue) {
    return Thread.ofVirtual()
        .start(
            () -> {
              try (lines) {
                for (String line; (line = lines.readLine()) != null; ) {
                  kept.add(line);
                  queue.add(line);
                }
              } catch (IOException e) {
                kept.add(e.toString());
              } finally {
                queue.add(END);
              }
            });
  }

  /** Says a line to its standard input. */
  void sayLine() throws IOException {
    process.getOutputStream().write('\n');
    process.getOutputStream().flush();
  }

  long pid() {
    return process.pid();
  }

  /** Waits for a line of standard output. {@return what the pattern found in it} */
  Matcher awaitLine(String pattern) throws InterruptedException {
    Pattern compiled = Pattern.compile(pattern);
    while (true) {
      String line = newLines.poll(HANG_SECONDS, TimeUnit.SECONDS);
      assertThat(line).as("no line like %s in %s; errors: %s", pattern, out, err).isNotNull();
      assertThat(line).as("no line like %s in %s; errors: %s", pattern, out, err).isNotEqualTo(END);
      Matcher found = compiled.matcher(String.valueOf(line));
      if (found.find()) {
        return found;
      }
    }
  }

  /** Sends a signal, such as INT. */
  void signal(String name) throws Exception {
    assertThat(new ProcessBuilder("kill", "-" + name, "" + pid()).start().waitFor()).isZero();
  }

  /** Waits for the end. */
  Result result() throws InterruptedException {
    assertThat(process.waitFor(HANG_SECONDS, TimeUnit.SECONDS))
        .as("it hangs; output: %s; errors: %s", out, err)
        .isTrue();
    for (Thread reader : readers) {
      reader.join();
    }
    return new Result(process.exitValue(), List.copyOf(out), List.copyOf(err));
  }

  @Override
  public void close() {
    process.descendants().forEach(ProcessHandle::destroyForcibly);
    process.destroyForcibly();
  }
}
