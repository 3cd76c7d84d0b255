package io.pageflux.examples.bench;

import io.pageflux.codec.Xbzrle;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/** XBZRLE over 1 MiB of pages of which one byte in a hundred was changed. */
@State(Scope.Thread)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
public class XbzrleBenchmark {

  private static final int PAGE = 4096;
  private static final int PAGES = 256;

  /** Whether the changed bytes of a page are scattered, in runs of eight, or one run. */
  @Param({"scattered", "fields", "run"})
  public String shape = "run";

  private final Arena arena = Arena.ofShared();
  private final MemorySegment before = arena.allocate((long) PAGES * PAGE, PAGE);
  private final MemorySegment after = arena.allocate((long) PAGES * PAGE, PAGE);
  private final MemorySegment out = arena.allocate(PAGE, PAGE);

  /** Changes 41 bytes of each page. */
  @Setup
  public void change() {
    SplittableRandom random = new SplittableRandom(5);
    for (long at = 0; at < before.byteSize(); at += 8) {
      before.set(ValueLayout.JAVA_LONG, at, random.nextLong());
    }
    after.copyFrom(before);
    int run =
        switch (shape) {
          case "scattered" -> 1;
          case "fields" -> 8;
          default -> 41;
        };
    for (long page = 0; page < after.byteSize(); page += PAGE) {
      for (int changed = 0; changed < 41; changed += run) {
        long from = page + random.nextInt(PAGE - run);
        for (int i = 0; i < run; i++) {
          byte old = after.get(ValueLayout.JAVA_BYTE, from + i);
          after.set(ValueLayout.JAVA_BYTE, from + i, (byte) (old + 1));
        }
      }
    }
  }

  /** Frees the memory. */
  @TearDown
  public void free() {
    arena.close();
  }

  /** {@return the bytes of all deltas} */
  @Benchmark
  public int encode() {
    int bytes = 0;
    for (long at = 0; at < (long) PAGES * PAGE; at += PAGE) {
      bytes += Xbzrle.encode(before, at, after, at, PAGE, out, 0, PAGE);
    }
    return bytes;
  }
}
