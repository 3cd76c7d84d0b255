package io.pageflux.examples.bench;

import io.pageflux.examples.cli.ChildJvm;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * A large guest is migrated by a process that has 128 MiB of heap and 128 MiB of direct memory for
 * both sides, to a destination that reads only 2 MB/s for a while.
 */
final class MemoryBench {

  /** What the process may have besides the guest's memory: its heap and its direct memory. */
  private static final double MAX_MIB = 2 * 128;

  private final long sizeBytes;
  private final PrintStream out;
  private final BenchReport report;

  MemoryBench(long sizeBytes, PrintStream out, BenchReport report) {
    this.sizeBytes = sizeBytes;
    this.out = out;
    this.report = report;
  }

  void run() throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(ChildJvm.java());
    command.add("-Xmx128m");
    command.add("-XX:MaxDirectMemorySize=128m");
    command.add("-cp");
    command.add(ManagementFactory.getRuntimeMXBean().getClassPath());
    command.add(MemoryBenchProcess.class.getName());
    command.add(Long.toString(sizeBytes));
    Process process =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    double peak = Double.NaN;
    try (BufferedReader lines =
        new BufferedReader(
            new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        if (line.startsWith(MemoryBenchProcess.PEAK)) {
          peak = Double.parseDouble(line.substring(MemoryBenchProcess.PEAK.length()));
        } else {
          out.println("  " + line);
        }
      }
    } finally {
      process.destroy();
    }
    int exitCode = process.waitFor();
    if (exitCode != 0) {
      throw new IOException("the migration of the large guest failed, exit code " + exitCode);
    }
    report.figure(
        "memory of both sides besides the guest's %d MiB, -Xmx128m, 128 MiB direct, slow destination"
            .formatted(sizeBytes >> 20),
        "MiB resident at the most",
        Figures.of(new double[] {peak}),
        MAX_MIB,
        true);
  }
}
