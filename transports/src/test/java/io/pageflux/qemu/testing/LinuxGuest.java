package io.pageflux.qemu.testing;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * A QEMU with the Linux guest that fills a part of its memory, rewrites it and checks it for ever.
 *
 * <p>The two sides of a migration are two of these with the same settings; the destination is given
 * {@code -incoming} as an option of QEMU, and none of its own console's output before the guest
 * goes on there. Waiting never takes longer than two minutes: it ends with an {@link
 * AssertionError} when the guest reports bad memory, when QEMU ends, or when time is over.
 */
public final class LinuxGuest implements AutoCloseable {

  private static final Duration PATIENCE = Duration.ofMinutes(2);
  private static final String KERNEL =
      "console=ttyS0 quiet tsc=reliable no_timer_check mitigations=off nokaslr panic=-1";

  /**
   * What the guest is and does.
   *
   * @param memoryMib its RAM in MiB; Linux needs 128
   * @param fillMib the part that it fills and checks, in MiB
   * @param rewrittenPerSecond the bytes of the pages that it changes in a second, in 10^6; 0: none
   * @param checkedPerSecond the bytes that it checks in a second, in 10^6; 0: as many as it can
   * @param seed of the contents
   * @param more kernel parameters, such as {@code pf.span=8}; the guest's source lists them
   */
  public record Settings(
      int memoryMib,
      int fillMib,
      int rewrittenPerSecond,
      int checkedPerSecond,
      long seed,
      String more) {

    /** A guest of 128 MiB that fills a third of them, and checks them as fast as it can. */
    public static Settings small(int rewrittenPerSecond) {
      return new Settings(128, 42, rewrittenPerSecond, 0, 1, "");
    }

    String kernelParameters() {
      return "%s pf.fill=%d pf.rate=%d pf.check=%d pf.seed=%d %s"
          .formatted(KERNEL, fillMib, rewrittenPerSecond, checkedPerSecond, seed, more)
          .strip();
    }
  }

  private final GuestConsole console = new GuestConsole();
  private final Heartbeat heartbeat = new Heartbeat();
  private final SerialPort consolePort;
  private final SerialPort heartbeatPort;
  private final Path qmp;
  private final GuestProcess qemu;

  /**
   * Starts QEMU, and with it the guest unless an option says otherwise.
   *
   * @param directory for sockets, short and used by no other guest
   * @param more options of QEMU, such as {@code -incoming}, behind those that make the guest
   */
  public LinuxGuest(Path directory, Settings settings, String... more) throws IOException {
    qmp = directory.resolve("qmp");
    consolePort = new SerialPort(directory, "ttyS0", console::accept, console::end);
    heartbeatPort = new SerialPort(directory, "ttyS1", heartbeat::accept, () -> {});
    try {
      List<String> options = new ArrayList<>(machine(settings));
      options.addAll(consolePort.options());
      options.addAll(heartbeatPort.options());
      options.addAll(List.of("-qmp", "unix:" + qmp + ",server=on,wait=off"));
      options.addAll(List.of(more));
      qemu = GuestProcess.start(directory, options);
    } catch (IOException | RuntimeException e) {
      closePorts();
      throw e;
    }
  }

  /**
   * {@return the directory of the guest's two files} Where {@code .ci/linux-guest} makes them
   * unless {@link RequiresLinuxGuest#DIRECTORY} names another one.
   */
  public static Path directory() {
    String named = System.getenv(RequiresLinuxGuest.DIRECTORY);
    return named == null || named.isEmpty() ? Path.of("/tmp/pageflux-linux-guest") : Path.of(named);
  }

  /** The options of QEMU that make the guest, but for its serial ports. */
  public static List<String> machine(Settings settings) {
    Path guest = directory();
    return List.of(
        "-m",
        Integer.toString(settings.memoryMib()),
        "-kernel",
        guest.resolve("vmlinuz").toString(),
        "-initrd",
        guest.resolve("initrd").toString(),
        "-append",
        settings.kernelParameters());
  }

  /** A Unix socket at which QEMU speaks QMP with one client; free for the test. */
  public Path qmpSocket() {
    return qmp;
  }

  /**
   * Has QEMU execute a command and waits for its reply, on a connection of the harness's own.
   *
   * @param command in JSON, in which QEMU takes {@code '} for {@code "}
   * @return the reply in JSON
   * @throws IOException if QEMU refuses it, or has ended
   */
  public String execute(String command) throws IOException {
    return qemu.execute(command);
  }

  /** When the guest was seen running. */
  public Heartbeat heartbeat() {
    return heartbeat;
  }

  /** All lines of the guest's console up to now; at a destination the first may be only an end. */
  public List<String> lines() {
    return console.lines();
  }

  /** The lines by which the guest has reported bad memory, or that it gave up. */
  public List<String> badLines() {
    return console.lines().stream().filter(GuestConsole::isBad).toList();
  }

  /** Waits until the guest has booted and filled its memory. */
  public void awaitReady() throws InterruptedException {
    console.await(0, line -> line.startsWith("PF READY"), "the guest to be ready", PATIENCE);
  }

  /**
   * Waits until the guest has checked all its memory once more, from beginning to end, and found
   * nothing wrong: after what it said last, so at a destination after it moved.
   *
   * @throws AssertionError if it finds anything wrong, or already had at this side
   */
  public void awaitRound() throws InterruptedException {
    int said = console.lines().size();
    if (!badLines().isEmpty()) {
      throw new AssertionError("the guest has reported: " + badLines());
    }
    int first = console.await(said, line -> round(line) >= 0, "progress of the guest", PATIENCE);
    long begun = round(console.lines().get(first));
    // The round that was under way may have begun before; the one behind it is whole.
    console.await(first, line -> round(line) >= begun + 2, "a whole round of checks", PATIENCE);
  }

  private static long round(String line) {
    GuestConsole.Progress progress = GuestConsole.progress(line);
    return progress == null ? -1 : progress.round();
  }

  /** Kills QEMU and removes the sockets. */
  @Override
  public void close() throws IOException {
    try {
      qemu.close();
    } finally {
      closePorts();
    }
  }

  private void closePorts() throws IOException {
    consolePort.close();
    heartbeatPort.close();
  }
}
