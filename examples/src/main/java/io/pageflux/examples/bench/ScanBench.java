package io.pageflux.examples.bench;

import io.pageflux.dirty.DirtyTracker;
import io.pageflux.dirty.DirtyTrackers;
import io.pageflux.dirty.TrackingSpec;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import java.io.PrintStream;
import java.lang.foreign.ValueLayout;

/** How long it takes to find out that nothing was written to a guest of 1 GiB. */
final class ScanBench {

  private static final long SIZE = 1L << 30;

  private final int repeat;
  private final PrintStream out;
  private final BenchReport report;

  ScanBench(int repeat, PrintStream out, BenchReport report) {
    this.repeat = repeat;
    this.out = out;
    this.report = report;
  }

  void run() {
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", SIZE).build()) {
      for (long at = 0; at < SIZE; at += 4096) {
        memory.block(0).segment().set(ValueLayout.JAVA_LONG, at, at + 1);
      }
      DirtyTrackers.Selection selection = DirtyTrackers.choose(memory, TrackingSpec.DEFAULT);
      try (DirtyTracker tracker = selection.tracker()) {
        out.println("tracker: " + selection.reason());
        tracker.start();
        MemoryPages pages = new MemoryPages(memory.layout());
        tracker.collect(pages);
        double[] millis = new double[Math.max(5, repeat)];
        for (int i = -5; i < millis.length; i++) {
          pages.clear();
          long began = System.nanoTime();
          tracker.collect(pages);
          if (i >= 0) {
            millis[i] = (System.nanoTime() - began) / 1e6;
          }
        }
        if (!pages.isEmpty()) {
          throw new IllegalStateException(
              pages.cardinality() + " pages of a still guest are dirty");
        }
        report.figure(
            "scan of a clean guest of 1 GiB, populated", "ms", Figures.of(millis), 5, true);
      }
    }
  }
}
