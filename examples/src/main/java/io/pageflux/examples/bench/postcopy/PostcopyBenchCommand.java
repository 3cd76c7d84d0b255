package io.pageflux.examples.bench.postcopy;

import io.pageflux.dirty.ReportedWrites;
import io.pageflux.examples.cli.ByteSize;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.memory.GuestMemory;
import io.pageflux.migration.Guest;
import io.pageflux.migration.IncomingMigration;
import io.pageflux.migration.IncomingSpec;
import io.pageflux.migration.MigrationEvent;
import io.pageflux.migration.MigrationInfo;
import io.pageflux.migration.OutgoingMigration;
import io.pageflux.migration.OutgoingPostcopySpec;
import io.pageflux.migration.OutgoingSpec;
import io.pageflux.postcopy.PostcopyMemory;
import io.pageflux.postcopy.PostcopyStatistics;
import io.pageflux.transport.tcp.TcpAcceptor;
import io.pageflux.transport.tcp.TcpSpec;
import io.pageflux.transport.tcp.TcpTransport;
import java.io.PrintStream;
import java.time.Duration;
import java.util.Arrays;
import java.util.Objects;
import java.util.SplittableRandom;
import java.util.concurrent.Callable;
import java.util.stream.LongStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import reactor.core.publisher.Mono;

/** {@code pageflux postcopy-bench}. */
@Command(
    name = "postcopy-bench",
    header = "Measure how long a guest in post-copy waits for a page.",
    description = {
      "Moves a guest over loopback, whose one thread needs absent pages at random as soon as it runs"
          + " at the destination: with an idle link, and while all other pages are pushed as fast as"
          + " the link takes them. Both kinds of runs alternate. The exit code is 1 if a target was"
          + " missed."
    })
public final class PostcopyBenchCommand implements Callable<Integer> {

  private static final Duration LIMIT = Duration.ofMinutes(5);
  private static final double TARGET_MICROS = 300;
  private static final double TARGET_RATIO = 3;
  private static final long IDLE_BYTES = 32 << 20;
  private static final int IDLE_FETCHES = 2000;

  private final Console console;

  @Option(
      names = "--size",
      paramLabel = "SIZE",
      defaultValue = "1g",
      description = "The guest's memory for the runs with a busy link (${DEFAULT-VALUE}).")
  private ByteSize size = new ByteSize(0);

  @Option(
      names = "--window",
      paramLabel = "SIZE",
      defaultValue = "2m",
      description = "What may be pushed that has not come, 1m at the least (${DEFAULT-VALUE}).")
  private ByteSize window = new ByteSize(0);

  @Option(
      names = "--repeat",
      paramLabel = "N",
      defaultValue = "5",
      description = "How many runs there are of each kind (${DEFAULT-VALUE}).")
  private int repeat = 5;

  /** Makes the command. */
  public PostcopyBenchCommand(Console console) {
    this.console = console;
  }

  private record Run(long[] nanos, PostcopyStatistics figures, double seconds) {}

  @Override
  public Integer call() throws InterruptedException {
    PrintStream out = console.out();
    long[] idle = {};
    long[] busy = {};
    double pushed = 0;
    run(IDLE_BYTES, IDLE_FETCHES, true, 1); // warms up
    run(size.bytes(), 1 << 20, false, 2);
    for (int i = 0; i < repeat; i++) {
      Run quiet = run(IDLE_BYTES, IDLE_FETCHES, true, 10 + i);
      Run loud = run(size.bytes(), 1 << 20, false, 20 + i);
      idle = concat(idle, quiet.nanos());
      busy = concat(busy, loud.nanos());
      pushed += loud.figures().postcopyBytes() / loud.seconds() / repeat;
      out.printf(
          "run %d  idle: %s; busy: %s; pushed %d pages, %d on request, %.2f GB/s%n",
          i + 1,
          text(quiet.nanos()),
          text(loud.nanos()),
          loud.figures().pushedPages(),
          loud.figures().demandedPages(),
          loud.figures().postcopyBytes() / loud.seconds() / 1e9);
    }
    return judge(out, idle, busy, pushed);
  }

  private int judge(PrintStream out, long[] idle, long[] busy, double bytesPerSecond) {
    double idleMedian = micros(idle, 0.5);
    double busyMedian = micros(busy, 0.5);
    boolean met = busyMedian <= TARGET_MICROS && busyMedian <= TARGET_RATIO * idleMedian;
    out.printf("idle link   %s%n", text(idle));
    out.printf("busy link   %s, at %.2f GB/s%n", text(busy), bytesPerSecond / 1e9);
    out.printf(
        "%s: median with a busy link %.0f µs (target: at most %.0f), %.2f times the idle one (target:"
            + " at most %.0f)%n",
        met ? "met" : "MISSED", busyMedian, TARGET_MICROS, busyMedian / idleMedian, TARGET_RATIO);
    return met ? ExitCode.OK : ExitCode.FAILED;
  }

  private static long[] concat(long[] a, long[] b) {
    return LongStream.concat(Arrays.stream(a), Arrays.stream(b)).toArray();
  }

  private static String text(long[] nanos) {
    return nanos.length == 0
        ? "no page was fetched"
        : "median %.0f µs, p90 %.0f µs, p99 %.0f µs of %d pages"
            .formatted(micros(nanos, 0.5), micros(nanos, 0.9), micros(nanos, 0.99), nanos.length);
  }

  private static double micros(long[] nanos, double part) {
    if (nanos.length == 0) {
      return Double.POSITIVE_INFINITY;
    }
    long[] sorted = nanos.clone();
    Arrays.sort(sorted);
    return sorted[(int) Math.min(sorted.length - 1, Math.ceil(part * sorted.length) - 1)] / 1e3;
  }

  private Run run(long bytes, int fetches, boolean idle, long seed) throws InterruptedException {
    TcpAcceptor acceptor =
        Objects.requireNonNull(TcpTransport.listen(TcpSpec.loopback(0)).block(LIMIT));
    try (GuestMemory source = GuestMemory.builder().anonymous("ram", bytes).build();
        GuestMemory destination = GuestMemory.builder().anonymous("ram", bytes).build()) {
      fill(source, seed);
      fill(destination, seed + 1); // so that no page is fresh
      PostcopyMemory absentBy = PostcopyMemory.of(destination);
      FetchingGuest guest = new FetchingGuest(absentBy, fetches, idle, seed);
      OutgoingMigration out =
          OutgoingMigration.of(
              OutgoingSpec.of(
                      source,
                      Guest.passive(),
                      TcpTransport.connector(TcpSpec.loopback(acceptor.port())))
                  .withTracker(ReportedWrites::new)
                  .withXbzrle(null)
                  .withCompression(null)
                  .withPostcopy(new OutgoingPostcopySpec(Math.toIntExact(window.bytes()))));
      long[] began = new long[1];
      Mono<MigrationInfo> outgoing =
          out.events()
              .doOnNext(
                  event -> {
                    if (event instanceof MigrationEvent.RoundStarted) {
                      out.startPostcopy().subscribe(); // before much is sent
                    } else if (event instanceof MigrationEvent.SwitchOver) {
                      began[0] = System.nanoTime();
                    }
                  })
              .ofType(MigrationEvent.Completed.class)
              .map(MigrationEvent.Completed::info)
              .single();
      Mono<MigrationInfo> incoming =
          IncomingMigration.of(IncomingSpec.of(destination, guest, acceptor).withPostcopy(absentBy))
              .run();
      MigrationInfo info =
          Objects.requireNonNull(Mono.zip(outgoing, incoming).block(LIMIT)).getT1();
      double seconds = (System.nanoTime() - began[0]) / 1e9;
      return new Run(
          guest.nanos(), Objects.requireNonNull(info.postcopy(), "no post-copy"), seconds);
    } finally {
      acceptor.dispose();
    }
  }

  private static void fill(GuestMemory memory, long seed) {
    SplittableRandom random = new SplittableRandom(seed);
    byte[] noise = new byte[1 << 20];
    random.nextBytes(noise);
    for (long at = 0; at < memory.sizeBytes(); at += noise.length) {
      memory
          .block(0)
          .segment()
          .asSlice(at, noise.length)
          .copyFrom(java.lang.foreign.MemorySegment.ofArray(noise));
    }
  }
}
