package io.pageflux.examples.bench;

import io.pageflux.checkpoint.CheckpointEvent;
import io.pageflux.checkpoint.CheckpointReport;
import io.pageflux.checkpoint.IncomingCheckpointSpec;
import io.pageflux.checkpoint.IncomingCheckpoints;
import io.pageflux.checkpoint.OutgoingCheckpointSpec;
import io.pageflux.checkpoint.OutgoingCheckpoints;
import io.pageflux.examples.cli.ByteRate;
import io.pageflux.examples.cli.ByteSize;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.examples.kv.KvGuest;
import io.pageflux.examples.kv.KvLoad;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import io.pageflux.migration.Guest;
import io.pageflux.transport.tcp.TcpAcceptor;
import io.pageflux.transport.tcp.TcpSpec;
import io.pageflux.transport.tcp.TcpTransport;
import java.io.PrintStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.function.ToLongFunction;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;

/** {@code pageflux checkpoint-bench}. */
@Command(
    name = "checkpoint-bench",
    header = "Measure for how long checkpoints pause a guest.",
    description = {
      "A store that is written all the time is protected over loopback, both sides in this process."
          + " What a pause may take is what was measured in the same run: the scan for dirty pages,"
          + " copying them at half of the speed at which this machine copies memory, and 10 ms. The"
          + " exit code is 1 if the median of the pauses is longer than that of the bounds."
    })
public final class CheckpointBenchCommand implements Callable<Integer> {

  private static final Duration ALLOWANCE = Duration.ofMillis(10);
  private static final int COPY_BYTES = 64 << 20;
  private static final int COPIES = 9;
  private static final double MILLI = 1e6;

  private final Console console;

  @Option(
      names = "--size",
      paramLabel = "SIZE",
      defaultValue = "1g",
      description = "The guest's memory (${DEFAULT-VALUE}).")
  private ByteSize size = new ByteSize(0);

  @Option(
      names = "--dirty-rate",
      paramLabel = "RATE",
      defaultValue = "50m",
      description = "What the guest writes per second (${DEFAULT-VALUE}).")
  private ByteRate dirtyRate = new ByteRate(0);

  @Option(
      names = "--interval",
      paramLabel = "DURATION",
      defaultValue = "2s",
      description = "From one checkpoint to the next (${DEFAULT-VALUE}).")
  private Duration interval = Duration.ZERO;

  @Option(
      names = "--checkpoints",
      paramLabel = "N",
      defaultValue = "30",
      description = "How many are taken (${DEFAULT-VALUE}).")
  private int checkpoints;

  @Option(
      names = "--staging",
      paramLabel = "SIZE",
      defaultValue = "256m",
      description = "Memory that dirty pages are copied to (${DEFAULT-VALUE}).")
  private ByteSize staging = new ByteSize(0);

  /** Made with what it talks to. */
  public CheckpointBenchCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    PrintStream out = console.out();
    double bytesPerNano = memorySpeed();
    out.printf("memory is copied at %.1f GB/s (median of %d)%n", bytesPerNano, COPIES);
    List<CheckpointReport> reports = take();
    if (reports.size() < checkpoints) {
      out.println("interrupted");
      return ExitCode.INTERRUPTED;
    }
    out.printf(
        "%d checkpoints, %s apart; %.1f MB of dirty pages each (median), %.1f MB on the wire; %d"
            + " did not fit the staging area%n",
        reports.size(),
        interval,
        median(reports, CheckpointReport::copiedBytes) / 1e6,
        median(reports, CheckpointReport::wireBytes) / 1e6,
        reports.stream().filter(report -> !report.fitted()).count());
    print(out, "pause", reports, report -> report.pause().toNanos());
    print(out, "of it the scan", reports, report -> report.scan().toNanos());
    print(out, "of it the copy", reports, report -> report.copyOut().toNanos());
    print(out, "until acknowledged", reports, report -> report.acknowledged().toNanos());
    ToLongFunction<CheckpointReport> bound =
        report ->
            report.scan().toNanos()
                + (long) (report.copiedBytes() / (bytesPerNano / 2))
                + ALLOWANCE.toNanos();
    print(out, "allowed", reports, bound);
    boolean met = median(reports, report -> report.pause().toNanos()) <= median(reports, bound);
    out.println("median of the pauses within that of what is allowed: " + (met ? "met" : "MISSED"));
    return met ? ExitCode.OK : ExitCode.FAILED;
  }

  private static void print(
      PrintStream out,
      String what,
      List<CheckpointReport> reports,
      ToLongFunction<CheckpointReport> nanos) {
    long[] sorted = reports.stream().mapToLong(nanos).sorted().toArray();
    out.printf(
        "%-20s median %7.2f ms, 90 %% %7.2f ms, longest %7.2f ms%n",
        what,
        sorted[sorted.length / 2] / MILLI,
        sorted[sorted.length * 9 / 10] / MILLI,
        sorted[sorted.length - 1] / MILLI);
  }

  private static long median(List<CheckpointReport> reports, ToLongFunction<CheckpointReport> of) {
    long[] sorted = reports.stream().mapToLong(of).sorted().toArray();
    return sorted[sorted.length / 2];
  }

  /** Bytes per nanosecond from populated memory to populated memory. */
  private static double memorySpeed() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment from = arena.allocate(COPY_BYTES, 4096).fill((byte) 1);
      MemorySegment to = arena.allocate(COPY_BYTES, 4096).fill((byte) 2);
      long[] nanos = new long[COPIES];
      for (int i = -2; i < COPIES; i++) {
        long began = System.nanoTime();
        to.copyFrom(from);
        if (i >= 0) {
          nanos[i] = System.nanoTime() - began;
        }
      }
      Arrays.sort(nanos);
      return (double) COPY_BYTES / nanos[COPIES / 2];
    }
  }

  private List<CheckpointReport> take() {
    TcpAcceptor acceptor = Objects.requireNonNull(TcpTransport.listen(TcpSpec.loopback(0)).block());
    try (GuestMemory memory = populated();
        GuestMemory copy = populated();
        KvGuest guest =
            KvGuest.create(memory.block(0), new KvLoad(dirtyRate.bytesPerSecond(), 1), 1)) {
      Mono<CheckpointEvent> destination =
          IncomingCheckpoints.of(
                  IncomingCheckpointSpec.of(copy, Guest.passive(), acceptor)
                      .withStagingBytes(2 * size.bytes()))
              .events()
              .last()
              .cache();
      Disposable holding = destination.subscribe(event -> {}, e -> {});
      guest.resume().block();
      List<CheckpointReport> reports = new ArrayList<>();
      OutgoingCheckpoints.of(
              OutgoingCheckpointSpec.of(
                      memory, guest, TcpTransport.connector(TcpSpec.loopback(acceptor.port())))
                  .withInterval(interval)
                  .withStagingBytes(staging.bytes()))
          .events(console.interruption().requests())
          .ofType(CheckpointEvent.Acknowledged.class)
          .map(CheckpointEvent.Acknowledged::report)
          .take(checkpoints)
          .doOnNext(reports::add)
          .blockLast();
      guest.pause().block();
      destination.block();
      holding.dispose();
      return reports;
    } finally {
      acceptor.dispose();
    }
  }

  private GuestMemory populated() {
    GuestMemory memory = GuestMemory.builder().anonymous("ram", size.bytes()).build();
    for (RamBlock block : memory.blocks()) {
      block.segment().fill((byte) 0);
    }
    return memory;
  }
}
