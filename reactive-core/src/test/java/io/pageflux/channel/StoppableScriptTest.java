package io.pageflux.channel;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.memory.GuestMemory;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.SlabPool;
import io.pageflux.wire.WireRecord;
import java.util.Objects;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Sinks;
import reactor.test.StepVerifier;
import reactor.test.publisher.TestPublisher;

class StoppableScriptTest {

  private static final WireRecord RECORD = new WireRecord.KeepAlive();

  @Test
  void itIsTheSourceUntilItIsStopped() {
    Sinks.Empty<Void> stop = Sinks.empty();
    TestPublisher<WireRecord> source = TestPublisher.create();
    StepVerifier.create(new StoppableScript(source.flux(), stop.asMono()))
        .then(() -> source.next(RECORD, RECORD))
        .expectNextCount(2)
        .then(stop::tryEmitEmpty)
        .verifyComplete();
    source.assertCancelled();
  }

  @Test
  void itEndsWithTheSource() {
    StepVerifier.create(new StoppableScript(Flux.just(RECORD), Sinks.<Void>empty().asMono()))
        .expectNextCount(1)
        .verifyComplete();
    StepVerifier.create(
            new StoppableScript(
                Flux.error(new IllegalStateException("source")), Sinks.<Void>empty().asMono()))
        .verifyErrorMessage("source");
  }

  @Test
  void stoppedWithinAnElementItCompletesBehindIt() {
    Sinks.Empty<Void> stop = Sinks.empty();
    StringBuilder seen = new StringBuilder();
    new StoppableScript(Flux.just(RECORD, RECORD), stop.asMono())
        .subscribe(
            record -> {
              stop.tryEmitEmpty();
              seen.append('n');
            },
            e -> seen.append('e'),
            () -> seen.append('c'));
    assertThat(seen).hasToString("nc");
  }

  @Test
  void aBatchThatMeetsTheStopIsReleased() throws Exception {
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", 4096).build()) {
      for (int i = 0; i < 500; i++) {
        SlabPool pool = new SlabPool(1, BatchGeometry.forPageSize(4096));
        Sinks.Empty<Void> stop = Sinks.empty();
        TestPublisher<WireRecord> source =
            TestPublisher.createNoncompliant(TestPublisher.Violation.CLEANUP_ON_TERMINATE);
        AtomicInteger ends = new AtomicInteger();
        new StoppableScript(source.flux(), stop.asMono())
            .subscribe(RecordDecompressor::release, e -> {}, ends::incrementAndGet);
        PageBatch batch =
            new PageBatch(
                0,
                memory.block(0).layout(),
                Objects.requireNonNull(pool.tryAcquire()),
                0,
                pool.geometry());
        CountDownLatch both = new CountDownLatch(2);
        Thread stopping =
            Thread.ofPlatform()
                .start(
                    () -> {
                      meet(both);
                      stop.tryEmitEmpty();
                    });
        meet(both);
        source.next(new WireRecord.Pages(batch));
        stopping.join();
        assertThat(ends).hasValue(1);
        assertThat(pool.outstanding()).isZero();
        pool.close();
      }
    }
  }

  private static void meet(CountDownLatch both) {
    both.countDown();
    while (both.getCount() > 0) {
      Thread.onSpinWait();
    }
  }
}
