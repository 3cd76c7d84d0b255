package io.pageflux.examples.bench.recovery;

import io.pageflux.codec.XbzrleSpec;
import io.pageflux.examples.cli.ByteRate;
import io.pageflux.examples.cli.ByteSize;
import io.pageflux.examples.cli.CodecChoice;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.examples.cli.Reconnection;
import io.pageflux.examples.kv.KvGuest;
import io.pageflux.examples.kv.KvLoad;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import io.pageflux.migration.Guest;
import io.pageflux.migration.IncomingMigration;
import io.pageflux.migration.IncomingSpec;
import io.pageflux.migration.OutgoingMigration;
import io.pageflux.migration.OutgoingSpec;
import io.pageflux.transport.tcp.TcpAcceptor;
import io.pageflux.transport.tcp.TcpSpec;
import io.pageflux.transport.tcp.TcpTransport;
import java.io.PrintStream;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.SplittableRandom;
import java.util.concurrent.Callable;
import java.util.function.ToDoubleFunction;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import reactor.core.publisher.Mono;

/** {@code pageflux recovery-bench}. */
@Command(
    name = "recovery-bench",
    header = "Measure what a broken connection and a way back cost.",
    description = {
      "Moves a key-value store that is being written over TCP on this machine: without a fault; with"
          + " a connection that is cut when 90 %% of the bytes of the run before have been sent; and"
          + " back, after 2 %% of its pages were changed, to where its older copy is. The runs"
          + " alternate, and each ends with a comparison of both memories. Bytes are those of both"
          + " directions. The exit code is 1 if a target was missed."
    })
public final class RecoveryBenchCommand implements Callable<Integer> {

  private static final Duration LIMIT = Duration.ofMinutes(5);
  private static final double CUT_AT = 0.9;
  private static final double CHANGED = 0.02;
  private static final double BROKEN_TARGET = 1.15;
  private static final double BACK_TARGET = 0.1;
  private static final long SEED = 42;

  private final Console console;

  @Option(
      names = "--size",
      paramLabel = "SIZE",
      defaultValue = "256m",
      description = "The store's memory (${DEFAULT-VALUE}).")
  private ByteSize size = new ByteSize(0);

  @Option(
      names = "--dirty-rate",
      paramLabel = "RATE",
      defaultValue = "10m",
      description = "What the store writes per second (${DEFAULT-VALUE}).")
  private ByteRate dirtyRate = new ByteRate(0);

  @Option(
      names = "--link-rate",
      paramLabel = "RATE",
      defaultValue = "100m",
      description = "Send no more than this per second (${DEFAULT-VALUE}).")
  private ByteRate linkRate = new ByteRate(0);

  @Option(
      names = "--codec",
      paramLabel = "CODEC",
      split = ",",
      defaultValue = "none,xbzrle+zstd:1",
      description = "none, xbzrle, zstd:LEVEL or xbzrle+zstd:LEVEL, several (${DEFAULT-VALUE}).")
  private List<CodecChoice> codecs = List.of();

  @Option(
      names = "--repeat",
      paramLabel = "N",
      defaultValue = "5",
      description = "How many runs there are of each kind (${DEFAULT-VALUE}).")
  private int repeat = 5;

  /** Makes the command. */
  public RecoveryBenchCommand(Console console) {
    this.console = console;
  }

  /** Bytes of three migrations, in both directions. */
  private record Run(long unbroken, long broken, long back) {}

  @Override
  public Integer call() {
    PrintStream out = console.out();
    boolean met = true;
    for (CodecChoice codec : codecs) {
      List<Run> runs = new ArrayList<>();
      for (int i = 0; i < repeat; i++) {
        Run run = run(codec);
        runs.add(run);
        out.printf(
            "%s run %d  unbroken %.1f MB; broken %.1f MB; back %.2f MB%n",
            codec, i + 1, run.unbroken() / 1e6, run.broken() / 1e6, run.back() / 1e6);
      }
      met &= judge(out, codec, runs);
    }
    return met ? ExitCode.OK : ExitCode.FAILED;
  }

  private static boolean judge(PrintStream out, CodecChoice codec, List<Run> runs) {
    double broken = median(runs, run -> (double) run.broken() / run.unbroken());
    double back = median(runs, run -> (double) run.back() / run.unbroken());
    boolean met = broken <= BROKEN_TARGET && back <= BACK_TARGET;
    out.printf(
        "%s %s: broken at 90 %% %.3f times the bytes of an unbroken run (target: at most %.2f); back"
            + " after 2 %% of the pages were changed %.3f times (target: at most %.2f)%n",
        codec, met ? "met" : "MISSED", broken, BROKEN_TARGET, back, BACK_TARGET);
    return met;
  }

  private static double median(List<Run> runs, ToDoubleFunction<Run> of) {
    double[] sorted = runs.stream().mapToDouble(of).toArray();
    Arrays.sort(sorted);
    int middle = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }

  private Run run(CodecChoice codec) {
    try (GuestMemory here = GuestMemory.builder().anonymous("ram", size.bytes()).build();
        GuestMemory there = GuestMemory.builder().anonymous("ram", size.bytes()).build()) {
      MeteredLine unbroken = there(codec, here, there, Long.MAX_VALUE);
      change(there);
      MeteredLine back = move(codec, there, Guest.passive(), here, true, Long.MAX_VALUE);
      here.blocks().forEach(block -> block.segment().fill((byte) 0));
      MeteredLine broken = there(codec, here, there, (long) (unbroken.sentBytes() * CUT_AT));
      if (broken.connections() < 2) {
        throw new IllegalStateException("the migration was over before its connection was cut");
      }
      return new Run(unbroken.bytes(), broken.bytes(), back.bytes());
    }
  }

  private MeteredLine there(CodecChoice codec, GuestMemory here, GuestMemory there, long cutAfter) {
    KvLoad load = new KvLoad(dirtyRate.bytesPerSecond(), 2);
    try (KvGuest guest = KvGuest.create(here.block(0), load, SEED)) {
      guest.resume().block();
      return move(codec, here, guest, there, false, cutAfter);
    }
  }

  /** Changes a part of the pages, as a guest that ran there would have. */
  private static void change(GuestMemory memory) {
    RamBlock block = memory.block(0);
    SplittableRandom random = new SplittableRandom(SEED);
    long[] pages = random.longs(0, block.pageCount()).distinct().limit(share(block)).toArray();
    for (long page : pages) {
      long at = block.pageOffset(page) + random.nextInt(block.pageSizeBytes() / 8) * 8L;
      block.segment().set(ValueLayout.JAVA_LONG, at, random.nextLong());
    }
  }

  private static long share(RamBlock block) {
    return (long) Math.ceil(block.pageCount() * CHANGED);
  }

  private MeteredLine move(
      CodecChoice codec,
      GuestMemory from,
      Guest guest,
      GuestMemory to,
      boolean reuse,
      long cutAfterBytes) {
    TcpAcceptor acceptor =
        Objects.requireNonNull(TcpTransport.listen(TcpSpec.loopback(0)).block(LIMIT));
    try {
      MeteredLine line =
          new MeteredLine(TcpTransport.connector(TcpSpec.loopback(acceptor.port())), cutAfterBytes);
      OutgoingSpec outgoing =
          OutgoingSpec.of(from, guest, line)
              .withXbzrle(codec.xbzrle() ? cache(from) : null)
              .withCompression(codec.compression(2))
              .withMaxBandwidth(linkRate.bytesPerSecond())
              .withResume(Reconnection.attempts(10));
      IncomingSpec incoming =
          IncomingSpec.of(to, Guest.passive(), acceptor).withResume(LIMIT).withReuse(reuse);
      Mono.zip(OutgoingMigration.of(outgoing).run(), IncomingMigration.of(incoming).run())
          .block(LIMIT);
      if (from.block(0).segment().mismatch(to.block(0).segment()) >= 0) {
        throw new IllegalStateException("the memories differ");
      }
      return line;
    } finally {
      acceptor.dispose();
    }
  }

  private static XbzrleSpec cache(GuestMemory memory) {
    return XbzrleSpec.DEFAULT.withCacheBytes(memory.sizeBytes() / 4);
  }
}
