package io.pageflux.examples.bench;

import io.pageflux.codec.ZeroTest;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
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

/** The zero test over 1 MiB of pages, beside a comparison with a page of zeros. */
@State(Scope.Thread)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
public class ZeroTestBenchmark {

  private static final int PAGE = 4096;
  private static final int PAGES = 256;

  /** How many of 100 pages are zero. */
  @Param({"100", "35"})
  public int zeroPercent;

  private final Arena arena = Arena.ofShared();
  private final MemorySegment zeros = arena.allocate(PAGE, PAGE);
  private final MemorySegment memory = arena.allocate((long) PAGES * PAGE, PAGE);

  /** Makes a page here and there other than zero, in its first, middle or last byte. */
  @Setup
  public void fill() {
    for (int i = 0; i < PAGES; i++) {
      if (i * 37 % 100 >= zeroPercent) {
        memory.asSlice((long) i * PAGE, PAGE).fill((byte) 0x5a);
      }
    }
  }

  /** Frees the memory. */
  @TearDown
  public void free() {
    arena.close();
  }

  /** {@return the number of zero pages, by Pageflux} */
  @Benchmark
  public int zeroTest() {
    int zero = 0;
    for (long at = 0; at < (long) PAGES * PAGE; at += PAGE) {
      if (ZeroTest.isZero(memory, at, PAGE)) {
        zero++;
      }
    }
    return zero;
  }

  /** {@return the number of zero pages, by comparison} */
  @Benchmark
  public int mismatch() {
    int zero = 0;
    for (long at = 0; at < (long) PAGES * PAGE; at += PAGE) {
      if (MemorySegment.mismatch(memory, at, at + PAGE, zeros, 0, PAGE) == -1) {
        zero++;
      }
    }
    return zero;
  }
}
