package io.pageflux.qemu.testing;

import io.pageflux.qemu.qmp.QmpClient;
import io.pageflux.qemu.qmp.QmpCommands;
import io.pageflux.qemu.qmp.QmpSpec;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * A QEMU of a test: without devices but for a serial port, which is its standard output, with a QMP
 * socket, and gone when it is closed. Its files are in a directory of its own with a short path.
 */
public final class QemuProcess implements AutoCloseable {

  /** What is started. */
  public static final String PROGRAM = "qemu-system-x86_64";

  /** How long anything may take that has a reason to. */
  public static final Duration PATIENCE = Duration.ofSeconds(60);

  /** What is kept of the output. */
  private static final int KEPT_CHARS = 16 << 10;

  private final Path directory;
  private final Process process;
  private final StringBuilder serial = new StringBuilder();
  private final StringBuilder errors = new StringBuilder();
  private long serialChars; // all of them; guarded by serial
  private boolean serialEnded; // guarded by serial
  private final Thread serialReader;
  private final Thread errorReader;
  private @Nullable QmpClient client;

  /** How a QEMU is started. */
  public static final class Builder {

    private final List<String> options = new ArrayList<>();
    private @Nullable BootSector bootSector;
    private int ramMiB = 32;
    private String machine = "pc";
    private @Nullable Path sharedMemory;

    /** Sets the size of the guest's memory. */
    public Builder ramMiB(int ramMiB) {
      this.ramMiB = ramMiB;
      return this;
    }

    /** Boots from a boot sector; without it, the guest finds nothing to boot. */
    public Builder boot(BootSector bootSector) {
      this.bootSector = bootSector;
      return this;
    }

    /** Sets the machine, with its options. */
    public Builder machine(String machine) {
      this.machine = machine;
      return this;
    }

    /** Has the guest's memory in a file, {@code share=on}. */
    public Builder sharedMemory(Path file) {
      this.sharedMemory = file;
      return this;
    }

    /** Adds options. */
    public Builder with(String... more) {
      options.addAll(List.of(more));
      return this;
    }

    /** Starts QEMU and connects to its QMP socket. */
    public QemuProcess start() {
      try {
        return new QemuProcess(this);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  /** {@return a QEMU to be started, with 32 MiB} */
  public static Builder builder() {
    return new Builder();
  }

  private QemuProcess(Builder builder) throws IOException {
    directory = Files.createTempDirectory(Path.of("/tmp"), "pfq");
    List<String> command = new ArrayList<>(List.of(PROGRAM, "-nodefaults", "-no-user-config"));
    command.addAll(List.of("-display", "none", "-accel", "tcg", "-m", builder.ramMiB + "M"));
    command.addAll(List.of("-qmp", "unix:" + qmpPath() + ",server=on,wait=off"));
    command.addAll(List.of("-chardev", "stdio,id=console,signal=off"));
    command.addAll(List.of("-device", "isa-serial,chardev=console"));
    String machine = builder.machine;
    if (builder.sharedMemory != null) {
      machine += ",memory-backend=ram";
      command.add("-object");
      command.add(
          "memory-backend-file,id=ram,share=on,size=%dM,mem-path=%s"
              .formatted(builder.ramMiB, builder.sharedMemory));
    }
    command.addAll(List.of("-machine", machine));
    if (builder.bootSector != null) {
      Path image = builder.bootSector.writeTo(directory.resolve("boot.img"));
      command.add("-drive");
      command.add("if=floppy,format=raw,readonly=on,file=" + image);
    }
    command.addAll(builder.options);
    process = new ProcessBuilder(command).start();
    process.getOutputStream().close();
    serialReader = read(process.getInputStream(), this::serial, this::serialEnded);
    errorReader = read(process.getErrorStream(), this::error, () -> {});
    boolean started = false;
    try {
      client = connect();
      started = true;
    } finally {
      if (!started) {
        close();
      }
    }
  }

  private QmpClient connect() throws IOException {
    long end = System.nanoTime() + PATIENCE.toNanos();
    // QEMU makes the socket and listens on it before it does anything slow.
    while (!Files.exists(qmpPath())) {
      if (!process.isAlive() || System.nanoTime() > end) {
        throw new IOException("QEMU did not start: " + errors());
      }
      Thread.onSpinWait();
    }
    while (true) {
      try {
        QmpSpec spec = QmpSpec.of(qmpAddress()).withTimeout(PATIENCE);
        QmpClient connected = QmpClient.connect(spec).block(PATIENCE);
        if (connected != null) {
          return connected;
        }
      } catch (RuntimeException e) {
        // Between its making and listening the socket refuses.
        if (!process.isAlive() || System.nanoTime() > end) {
          throw new IOException("QEMU did not start: " + errors(), e);
        }
      }
    }
  }

  private Path qmpPath() {
    return directory.resolve("qmp");
  }

  /** {@return the address of the QMP socket, which {@link #qmp()} occupies while it is open} */
  public String qmpAddress() {
    return "unix:" + qmpPath();
  }

  /** {@return the QMP connection} */
  public QmpClient qmp() {
    QmpClient connected = client;
    if (connected == null) {
      throw new IllegalStateException("not connected");
    }
    return connected;
  }

  /** {@return the QMP connection's typed commands} */
  public QmpCommands commands() {
    return qmp().commands();
  }

  /** Closes the QMP connection, so that somebody else can have it. */
  public void releaseQmp() {
    qmp().close().block(PATIENCE);
  }

  /** Connects to the QMP socket again. */
  public void reconnectQmp() {
    try {
      client = connect();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** {@return a directory for files of the test, with a short path; gone with this} */
  public Path directory() {
    return directory;
  }

  /** {@return a range of the guest's physical memory, as QEMU sees it now} */
  public byte[] pmemsave(long address, long sizeBytes) {
    Path file = directory.resolve("pmem");
    commands().pmemsave(address, sizeBytes, file, PATIENCE).block(PATIENCE);
    try {
      byte[] bytes = Files.readAllBytes(file);
      Files.delete(file);
      return bytes;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** {@return the memory that a boot sector writes} */
  public byte[] pmemsave(BootSector bootSector) {
    return pmemsave(bootSector.firstByte(), bootSector.endByte() - bootSector.firstByte());
  }

  /** {@return how many characters the guest has printed} */
  public long serialChars() {
    synchronized (serial) {
      return serialChars;
    }
  }

  /** {@return the last of what the guest has printed} */
  public String serial() {
    synchronized (serial) {
      return serial.toString();
    }
  }

  /** Waits until the guest has printed so many characters more. */
  public void awaitPasses(int more) {
    long enough = serialChars() + more;
    awaitSerial(text -> serialChars >= enough);
  }

  /** Waits until a boot sector has set its words to zero and gone over them once at least. */
  public void awaitBooted() {
    awaitSerial(text -> serialChars > 1 && text.indexOf(BootSector.READY) != text.length() - 1);
  }

  /**
   * Waits for what the guest prints.
   *
   * @param condition gets the last of it
   */
  public void awaitSerial(Predicate<String> condition) {
    long end = System.nanoTime() + PATIENCE.toNanos();
    synchronized (serial) {
      while (!condition.test(serial.toString())) {
        long left = TimeUnit.NANOSECONDS.toMillis(end - System.nanoTime());
        if (left <= 0 || serialEnded) {
          throw new AssertionError(
              "the guest did not print what it should, but \"%s\"; QEMU: %s"
                  .formatted(serial, errors()));
        }
        try {
          serial.wait(left);
        } catch (InterruptedException e) {
          Thread.currentThread().interrupt();
          throw new IllegalStateException(e);
        }
      }
    }
  }

  /** {@return what QEMU has said on its standard error} */
  public String errors() {
    synchronized (errors) {
      return errors.toString();
    }
  }

  /** {@return the process} */
  public Process process() {
    return process;
  }

  /** Kills QEMU as {@code kill -9} does, and waits for its end. */
  public void kill() {
    process.destroyForcibly();
    try {
      if (!process.waitFor(PATIENCE.toSeconds(), TimeUnit.SECONDS)) {
        throw new IllegalStateException("QEMU cannot be killed: " + process);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public void close() {
    kill();
    try {
      serialReader.join();
      errorReader.join();
      if (client != null) {
        client.close().block(PATIENCE);
      }
      try (var files = Files.list(directory)) {
        for (Path file : files.toList()) {
          Files.delete(file);
        }
      }
      Files.delete(directory);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void serial(String text) {
    synchronized (serial) {
      keep(serial, text);
      serialChars += text.length();
      serial.notifyAll();
    }
  }

  private void serialEnded() {
    synchronized (serial) {
      serialEnded = true;
      serial.notifyAll();
    }
  }

  private void error(String text) {
    synchronized (errors) {
      keep(errors, text);
    }
  }

  private static void keep(StringBuilder output, String text) {
    output.append(text);
    if (output.length() > KEPT_CHARS) {
      output.delete(0, output.length() - KEPT_CHARS);
    }
  }

  private interface Taker {
    void take(String text);
  }

  private static Thread read(InputStream in, Taker taker, Runnable ended) {
    return Thread.ofVirtual()
        .start(
            () -> {
              byte[] bytes = new byte[8192];
              try (in) {
                int count;
                while ((count = in.read(bytes)) >= 0) {
                  taker.take(new String(bytes, 0, count, StandardCharsets.ISO_8859_1));
                }
              } catch (IOException e) {
                taker.take("[" + e + "]");
              } finally {
                ended.run();
              }
            });
  }
}
