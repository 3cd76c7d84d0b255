package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.codec.XbzrleEncoder;
import io.pageflux.codec.XbzrleSpec;
import io.pageflux.codec.ZeroTest;
import io.pageflux.codec.ZstdBatchCompressor;
import io.pageflux.convergence.ConvergenceMeter.Sample;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.RamBlock;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.PageRewriter;
import io.pageflux.page.SlabPool;
import io.pageflux.wire.WireWriter;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import org.assertj.core.data.Percentage;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class PageTrialTest {

  private static final int PAGE = 4096;
  private static final int PAGES = 4096;

  private final GuestMemory memory =
      GuestMemory.builder().anonymous("ram", PAGES * PAGE).anonymous("more", 64 * PAGE).build();
  private final SlabPool pool = new SlabPool(1, BatchGeometry.DEFAULT);
  private final PageTrial trial = new PageTrial(memory, pool);
  private final MemoryPages dirty = new MemoryPages(memory.layout());
  private final Random random = new Random(3);
  private final XbzrleEncoder encoder =
      new XbzrleEncoder(memory.layout(), XbzrleSpec.DEFAULT.withCacheBytes(PAGES / 2 * PAGE));

  @AfterEach
  void close() {
    trial.close();
    encoder.close();
    assertThat(pool.outstanding()).isZero();
    pool.close();
    memory.close();
  }

  /** Three pages of four have contents, that can be compressed. */
  private void fill() {
    for (RamBlock block : memory.blocks()) {
      for (long page = 0; page < block.pageCount(); page++) {
        for (long i = 0; page % 4 > 0 && i < PAGE; i += 8) {
          write(block, page * PAGE + i);
        }
      }
    }
  }

  private void write(RamBlock block, long at) {
    block.segment().set(ValueLayout.JAVA_LONG, at, random.nextLong() & 0xFFFFFFFFL);
  }

  /** The guest changes a few words of some pages, and finds others as they were. */
  private void writeSome() {
    RamBlock ram = memory.block(0);
    for (long page = 0; page < PAGES; page += 1 + random.nextInt(3)) {
      dirty.of(0).add(page);
      for (int i = random.nextInt(12); page % 4 > 0 && i > 0; i--) {
        write(ram, page * PAGE + 8L * random.nextInt(PAGE / 8));
      }
    }
    dirty.of(1).addRange(3, 5);
  }

  /** What a round makes of pages. */
  private Sample send(
      MemoryPages pages, @Nullable XbzrleEncoder deltas, @Nullable ZstdBatchCompressor compressor) {
    Sample sum = new Sample(0, 0, 0);
    for (RamBlock block : memory.blocks()) {
      List<Long> batch = new ArrayList<>();
      for (long p = pages.of(block.index()).nextSet(0); p >= 0; ) {
        batch.add(p);
        p = pages.of(block.index()).nextSet(p + 1);
        if (p < 0 || batch.size() == BatchGeometry.DEFAULT.maxPages()) {
          Sample sent = send(block, batch, deltas, compressor);
          sum =
              new Sample(
                  sum.pages() + sent.pages(),
                  sum.contents() + sent.contents(),
                  sum.bytes() + sent.bytes());
          batch.clear();
        }
      }
    }
    return sum;
  }

  private Sample send(
      RamBlock block,
      List<Long> pages,
      @Nullable XbzrleEncoder deltas,
      @Nullable ZstdBatchCompressor compressor) {
    Lease lease = Objects.requireNonNull(pool.tryAcquire());
    PageBatch batch =
        new PageBatch(
            block.index(), block.layout(), lease, pool.geometry().headroomBytes(), pool.geometry());
    for (long page : pages) {
      MemorySegment.copy(
          block.segment(),
          page * PAGE,
          batch.slab(),
          (long) batch.payloadOffset() + batch.payloadBytes(),
          PAGE);
      batch.append(page, PageKind.RAW, PAGE);
    }
    for (PageRewriter page = batch.rewrite(); page.next(); ) {
      if (ZeroTest.isZero(page.slab(), page.offset(), page.length())) {
        page.toZero();
      }
    }
    long contents = batch.count(PageKind.RAW);
    if (deltas != null) {
      deltas.encode(batch);
    }
    if (compressor != null) {
      compressor.compress(batch);
    }
    long bytes = batch.isEmpty() ? 0 : WireWriter.recordBytes(batch);
    batch.release();
    return new Sample(pages.size(), contents, bytes);
  }

  private static double perPage(Sample sample) {
    return (double) sample.bytes() / sample.pages();
  }

  @Test
  void whatSomePagesBecomeIsAboutWhatAllBecomeWhenTheyAreSent() {
    fill();
    MemoryPages all = new MemoryPages(memory.layout());
    all.addAll();
    encoder.beginRound(1, true, false);
    send(all, encoder, null);
    writeSome();
    try (ZstdBatchCompressor compressor = new ZstdBatchCompressor(1)) {
      Sample tried = Objects.requireNonNull(trial.of(dirty, encoder, new CompressionSpec(1, 1)));
      encoder.beginRound(2, false, false);
      Sample sent = send(dirty, encoder, compressor);
      assertThat(tried.pages()).isBetween(128L, 256L);
      assertThat(perPage(tried)).isCloseTo(perPage(sent), Percentage.withPercentage(15));
      assertThat((double) tried.contents() / tried.pages())
          .isCloseTo((double) sent.contents() / sent.pages(), Percentage.withPercentage(15));
      // Half of them have an older version in the cache.
      assertThat(perPage(send(dirty, null, compressor))).isGreaterThan(1.5 * perPage(sent));
    }
  }

  @Test
  void aFewPagesAreAllTriedOut() {
    fill();
    dirty.of(0).addRange(4, 8);
    dirty.of(1).addRange(1, 2);
    Sample tried = Objects.requireNonNull(trial.of(dirty, null, null));
    assertThat(tried).isEqualTo(send(dirty, null, null));
    assertThat(tried.contents()).isEqualTo(4);
  }

  @Test
  void nothingIsTriedOutWithoutPagesOrWithoutRoom() {
    assertThat(trial.of(dirty, null, null)).isNull();
    dirty.addAll();
    Lease last = Objects.requireNonNull(pool.tryAcquire());
    assertThat(trial.of(dirty, null, null)).isNull();
    last.release();
    assertThat(trial.of(dirty, null, null)).isNotNull();
  }
}
