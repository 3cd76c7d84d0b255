package io.pageflux.operator;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.dirty.DirtyTracker;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.reactivestreams.Subscription;
import reactor.core.Disposable;
import reactor.core.publisher.BaseSubscriber;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;

@Timeout(60)
class PageScannerTest {

  private static final int PAGE = 4096;

  private final GuestMemory memory =
      GuestMemory.builder()
          .anonymous("ram", 512 * PAGE)
          .anonymous("empty", 8 * PAGE)
          .pageSize(65536)
          .anonymous("large", 16 * 65536)
          .build();
  private final SlabPool pool = new SlabPool(3, BatchGeometry.DEFAULT);
  private final Scheduler thread = Schedulers.newSingle("test-scan", true);
  private final List<String> copied = new ArrayList<>();
  private final PageScanner scanner = new PageScanner(memory, new CopyRecorder(), pool, thread);

  /** Knows nothing of writes, and remembers what it was told was copied. */
  private final class CopyRecorder implements DirtyTracker {
    @Override
    public String name() {
      return "recorder";
    }

    @Override
    public void start() {}

    @Override
    public long collect(MemoryPages into) {
      return 0;
    }

    @Override
    public void copied(int blockIndex, long page, MemorySegment slab, long offset) {
      int pageSize = memory.block(blockIndex).pageSizeBytes();
      assertThat(
              MemorySegment.mismatch(
                  slab,
                  offset,
                  offset + pageSize,
                  memory.block(blockIndex).segment(),
                  page * pageSize,
                  (page + 1) * pageSize))
          .isEqualTo(-1);
      copied.add(blockIndex + ":" + page);
    }

    @Override
    public void close() {}
  }

  @AfterEach
  void nothingIsLeftOut() {
    thread.disposeGracefully().block(Duration.ofSeconds(20));
    assertThat(pool.outstanding()).isZero();
    pool.close();
    memory.close();
  }

  private MemoryPages randomPages(long seed) {
    Random random = new Random(seed);
    MemoryPages pages = new MemoryPages(memory.layout());
    for (int i = 0; i < 200; i++) {
      pages.of(0).add(random.nextInt(512));
    }
    pages.of(0).addRange(100, 300);
    pages.of(2).add(3);
    pages.of(2).addRange(8, 16);
    for (var block : memory.blocks()) {
      for (long i = 0; i < block.sizeBytes(); i += 8) {
        block.segment().set(ValueLayout.JAVA_LONG, i, random.nextLong());
      }
    }
    return pages;
  }

  @Test
  void everyPageOfTheSetComesOnceInOrderWithItsContents() {
    MemoryPages pages = randomPages(7);
    List<String> seen = new ArrayList<>();
    StepVerifier.create(scanner.round(pages))
        .thenConsumeWhile(
            batch -> {
              long offset = batch.payloadOffset();
              for (int i = 0; i < batch.size(); i++) {
                seen.add(batch.blockIndex() + ":" + batch.page(i));
                assertThat(batch.kind(i)).isEqualTo(PageKind.RAW);
                int size = batch.pageSizeBytes();
                assertThat(
                        MemorySegment.mismatch(
                            batch.slab(),
                            offset,
                            offset + size,
                            memory.block(batch.blockIndex()).segment(),
                            batch.page(i) * size,
                            (batch.page(i) + 1) * size))
                    .isEqualTo(-1);
                offset += size;
              }
              batch.release();
              return true;
            })
        .verifyComplete();
    List<String> expected = new ArrayList<>();
    for (int b = 0; b < 3; b++) {
      int block = b;
      pages
          .of(b)
          .forEachRun(
              (from, to) -> {
                for (long p = from; p < to; p++) {
                  expected.add(block + ":" + p);
                }
              });
    }
    assertThat(seen).isEqualTo(expected);
    assertThat(copied).isEqualTo(expected);
  }

  @Test
  void anEmptySetIsAnEmptyRound() {
    StepVerifier.create(scanner.round(new MemoryPages(memory.layout()))).verifyComplete();
  }

  @Test
  void nothingIsReadWithoutDemandOrWithoutASlab() throws Exception {
    MemoryPages pages = new MemoryPages(memory.layout());
    pages.of(0).addAll();
    List<PageBatch> batches = new ArrayList<>();
    CountDownLatch three = new CountDownLatch(3);
    CountDownLatch all = new CountDownLatch(8);
    scanner
        .round(pages)
        .subscribe(
            batch -> {
              synchronized (batches) {
                batches.add(batch);
              }
              three.countDown();
              all.countDown();
            });
    assertThat(three.await(20, TimeUnit.SECONDS)).isTrue();
    // The pool has three slabs, so the scanner has read three batches of the eight, and waits.
    assertThat(copied).hasSize(3 * 64);
    for (int released = 0; all.getCount() > 0; released++) {
      while (true) {
        synchronized (batches) {
          if (batches.size() > released) {
            batches.get(released).release();
            break;
          }
        }
        Thread.onSpinWait();
      }
    }
    synchronized (batches) {
      batches.forEach(PageBatch::release);
      assertThat(batches).hasSize(8);
    }
  }

  /** A thread whose clock is moved on by the test. */
  private static final class Clocked implements Scheduler {
    private final Scheduler thread;
    private final AtomicLong nanos = new AtomicLong();

    Clocked(Scheduler thread) {
      this.thread = thread;
    }

    @Override
    public long now(TimeUnit unit) {
      return unit.convert(nanos.get(), TimeUnit.NANOSECONDS);
    }

    @Override
    public Disposable schedule(Runnable task) {
      return thread.schedule(task);
    }

    @Override
    public Worker createWorker() {
      return thread.createWorker();
    }
  }

  @Test
  void othersGetTheThreadWhenASliceIsOver() {
    MemoryPages pages = new MemoryPages(memory.layout());
    pages.of(0).addAll();
    Clocked clocked = new Clocked(thread);
    List<String> order = new CopyOnWriteArrayList<>();
    new PageScanner(memory, new CopyRecorder(), pool, clocked)
        .round(pages)
        .doOnNext(
            batch -> {
              batch.release();
              order.add("batch");
              // Three batches, and 20 ms for each: the slice is over after the third.
              clocked.nanos.addAndGet(TimeUnit.MILLISECONDS.toNanos(20));
              if (order.size() == 1) {
                thread.schedule(() -> order.add("others"));
              }
            })
        .blockLast(Duration.ofSeconds(20));
    assertThat(order.subList(0, 5)).containsExactly("batch", "batch", "batch", "others", "batch");
    assertThat(order).hasSize(9);
  }

  @Test
  void aCancelLeavesNoSlabBehindWhereverItComes() {
    MemoryPages pages = new MemoryPages(memory.layout());
    pages.of(0).addAll();
    for (int i = 0; i < 300; i++) {
      int cancelAfter = i % 5;
      CountDownLatch cancelled = new CountDownLatch(1);
      scanner
          .round(pages)
          .subscribe(
              new BaseSubscriber<PageBatch>() {
                private int seen;

                @Override
                protected void hookOnSubscribe(Subscription s) {
                  s.request(3);
                  if (cancelAfter == 0) {
                    cancel();
                    cancelled.countDown();
                  }
                }

                @Override
                protected void hookOnNext(PageBatch batch) {
                  batch.release();
                  if (++seen == Math.min(3, cancelAfter)) {
                    cancel();
                    cancelled.countDown();
                  }
                }
              });
      assertThat(await(cancelled)).isTrue();
    }
  }

  private static boolean await(CountDownLatch latch) {
    try {
      return latch.await(20, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }
}
