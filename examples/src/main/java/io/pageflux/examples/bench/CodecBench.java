package io.pageflux.examples.bench;

import java.util.Collection;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import org.openjdk.jmh.results.IterationResult;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;
import org.openjdk.jmh.runner.options.VerboseMode;

/** The codecs' JMH benchmarks, run in a process of their own. Each operation is 1 MiB of pages. */
final class CodecBench {

  private final int repeat;
  private final BenchReport report;

  CodecBench(int repeat, BenchReport report) {
    this.repeat = repeat;
    this.report = report;
  }

  void run() {
    Map<String, Figures> zero = measure(ZeroTestBenchmark.class);
    for (String share : new String[] {"100", "35"}) {
      Figures ours = figures(zero, "zeroTest/" + share);
      Figures theirs = figures(zero, "mismatch/" + share);
      report.compare(
          "zero test, GB/s, " + share + " % zero pages",
          ours,
          "MemorySegment.mismatch with a zero page",
          theirs,
          Figures.of(new double[] {ours.median() / theirs.median()}),
          0.8);
    }
    Map<String, Figures> xbzrle = measure(XbzrleBenchmark.class);
    for (String shape : new String[] {"scattered", "fields", "run"}) {
      report.figure(
          "XBZRLE encoding, 1 % of the bytes changed (" + shape + ")",
          "GB/s",
          figures(xbzrle, "encode/" + shape),
          2.0,
          false);
    }
  }

  private static Figures figures(Map<String, Figures> measured, String name) {
    return Objects.requireNonNull(measured.get(name), name);
  }

  private Map<String, Figures> measure(Class<?> benchmark) {
    try {
      Collection<RunResult> results =
          new Runner(
                  new OptionsBuilder()
                      .include(benchmark.getName())
                      .forks(1)
                      .warmupIterations(3)
                      .warmupTime(TimeValue.milliseconds(700))
                      .measurementIterations(Math.max(3, repeat))
                      .measurementTime(TimeValue.milliseconds(700))
                      .jvmArgsAppend(
                          "--enable-native-access=ALL-UNNAMED",
                          "--sun-misc-unsafe-memory-access=allow") // for JMH itself
                      .verbosity(VerboseMode.SILENT)
                      .build())
              .run();
      Map<String, Figures> figures = new HashMap<>();
      for (RunResult result : results) {
        double[] gigabytes =
            result.getBenchmarkResults().stream()
                .flatMap(r -> r.getIterationResults().stream())
                .map(IterationResult::getPrimaryResult)
                .mapToDouble(r -> r.getScore() * (1 << 20) / 1e9)
                .toArray();
        String name = result.getPrimaryResult().getLabel();
        String parameter =
            result.getParams().getParam(result.getParams().getParamsKeys().iterator().next());
        figures.put(name + "/" + parameter, Figures.of(gigabytes));
      }
      return figures;
    } catch (RunnerException e) {
      throw new IllegalStateException("JMH failed: " + e.getMessage(), e);
    }
  }
}
