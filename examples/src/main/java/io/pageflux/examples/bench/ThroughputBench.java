package io.pageflux.examples.bench;

import io.pageflux.memory.GuestMemory;
import io.pageflux.migration.CompressionSpec;
import io.pageflux.migration.OutgoingSpec;
import io.pageflux.page.BatchGeometry;
import java.io.IOException;
import java.util.function.UnaryOperator;

/** How fast a round goes over loopback, raw and compressed, beside its rivals. */
final class ThroughputBench {

  /** Rounds that are not counted, for the compiler. */
  private static final int WARM_UP = 3;

  private final long sizeBytes;
  private final BatchGeometry geometry;
  private final int repeat;
  private final BenchReport report;

  ThroughputBench(long sizeBytes, int batchBytes, int repeat, BenchReport report) {
    this.sizeBytes = sizeBytes;
    this.geometry = new BatchGeometry(batchBytes / 4096, batchBytes);
    this.repeat = repeat;
    this.report = report;
  }

  private static GuestMemory memory(long bytes) {
    return GuestMemory.builder().anonymous("ram", bytes).build();
  }

  void run(boolean raw, boolean compressed) throws IOException {
    try (GuestMemory source = memory(sizeBytes);
        GuestMemory destination = memory(sizeBytes)) {
      long nonZero = GuestContents.fill(source.block(0), 1);
      // Other contents, so that every page is written to, and none of it for the first time.
      GuestContents.fill(destination.block(0), 2);
      if (raw) {
        raw(source, destination, nonZero);
      }
      if (compressed) {
        compressed(source, destination);
      }
    }
  }

  private void raw(GuestMemory source, GuestMemory destination, long nonZero) throws IOException {
    UnaryOperator<OutgoingSpec> spec =
        s -> s.withGeometry(geometry).withXbzrle(null).withCompression(null);
    double[] ours = new double[repeat];
    double[] plain = new double[repeat];
    for (int i = -WARM_UP; i < repeat; i++) {
      double mine = LoopbackMigration.firstRoundSeconds(source, destination, spec);
      double theirs =
          PlainCopy.seconds(source.block(0).segment(), destination.block(0).segment(), nonZero);
      if (i >= 0) {
        ours[i] = nonZero / mine / 1e9;
        plain[i] = nonZero / theirs / 1e9;
      }
    }
    report.compare(
        "raw over loopback, GB/s of non-zero bytes",
        Figures.of(ours),
        "plain SocketChannel copy",
        Figures.of(plain),
        Figures.ratios(ours, plain),
        0.5);
  }

  private void compressed(GuestMemory source, GuestMemory destination) {
    UnaryOperator<OutgoingSpec> spec =
        s -> s.withGeometry(geometry).withXbzrle(null).withCompression(new CompressionSpec(1, 2));
    double[] ours = new double[repeat];
    double[] single = new double[repeat];
    double ratio = 0;
    for (int i = -WARM_UP; i < repeat; i++) {
      double mine = LoopbackMigration.firstRoundSeconds(source, destination, spec);
      SingleCoreZstd.Result theirs =
          SingleCoreZstd.measure(source.block(0).segment(), 1, 128L << 20);
      ratio = theirs.ratio();
      if (i >= 0) {
        ours[i] = sizeBytes / mine / 1e9;
        single[i] = theirs.bytesPerSecond() / 1e9;
      }
    }
    report.compare(
        "zstd 1, 2 workers, GB/s of guest RAM",
        Figures.of(ours),
        "one core's zstd 1, GB/s of contents (ratio %.1f)".formatted(ratio),
        Figures.of(single),
        Figures.ratios(ours, single),
        1.3);
  }
}
