package io.pageflux.examples.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import io.pageflux.examples.cli.ByteSize;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.ExitCode;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code pageflux bench}. */
@Command(
    name = "bench",
    header = "Measure Pageflux against its rivals and its targets, in one run.",
    description = {
      "Every figure is a median, with the least and the greatest in brackets. What counts are the"
          + " ratios: rivals are measured in the same run, alternating. The exit code is 1 if a"
          + " target was missed."
    })
public final class BenchCommand implements Callable<Integer> {

  /** What can be measured. */
  public enum Part {
    /** Rounds over loopback, as they are. */
    RAW,
    /** Rounds over loopback, compressed. */
    ZSTD,
    /** A large guest, with little memory for everything else. */
    MEMORY,
    /** Scanning a guest that does not write. */
    SCAN,
    /** Zero test and XBZRLE. */
    CODECS;

    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  private final Console console;

  @Option(
      names = "--only",
      split = ",",
      paramLabel = "PART",
      description = "Only these parts: ${COMPLETION-CANDIDATES}.")
  private Set<Part> only = EnumSet.allOf(Part.class);

  @Option(
      names = "--size",
      paramLabel = "SIZE",
      defaultValue = "512m",
      description = "The guest's size for the rounds over loopback (default: ${DEFAULT-VALUE}).")
  private ByteSize size = new ByteSize(512L << 20);

  @Option(
      names = "--memory-size",
      paramLabel = "SIZE",
      defaultValue = "4g",
      description = "The size of the large guest (default: ${DEFAULT-VALUE}).")
  private ByteSize memorySize = new ByteSize(4L << 30);

  @Option(
      names = "--batch",
      paramLabel = "SIZE",
      defaultValue = "256k",
      description = "How much of the guest one batch holds (default: ${DEFAULT-VALUE}).")
  private ByteSize batch = new ByteSize(256 << 10);

  @Option(
      names = "--repeat",
      paramLabel = "N",
      defaultValue = "7",
      description = "How often each thing is measured (default: ${DEFAULT-VALUE}).")
  private int repeat = 7;

  @Option(names = "--json", paramLabel = "FILE", description = "Write the results to a file, too.")
  private @Nullable Path json;

  /** Makes the command. */
  public BenchCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws Exception {
    PrintStream out = console.out();
    BenchReport report = new BenchReport(out);
    out.printf(
        "%d processors, Java %s%n",
        Runtime.getRuntime().availableProcessors(), Runtime.version().feature());
    if (only.contains(Part.RAW) || only.contains(Part.ZSTD)) {
      new ThroughputBench(size.bytes(), Math.toIntExact(batch.bytes()), repeat, report)
          .run(only.contains(Part.RAW), only.contains(Part.ZSTD));
    }
    if (only.contains(Part.MEMORY)) {
      new MemoryBench(memorySize.bytes(), out, report).run();
    }
    if (only.contains(Part.SCAN)) {
      new ScanBench(repeat, out, report).run();
    }
    if (only.contains(Part.CODECS)) {
      new CodecBench(repeat, report).run();
    }
    if (json != null) {
      new ObjectMapper()
          .enable(SerializationFeature.INDENT_OUTPUT)
          .writeValue(json.toFile(), Map.of("results", report.results()));
    }
    return report.allMet() ? ExitCode.OK : ExitCode.FAILED;
  }
}
