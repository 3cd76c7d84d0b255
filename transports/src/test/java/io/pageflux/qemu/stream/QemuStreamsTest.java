package io.pageflux.qemu.stream;

import static io.pageflux.qemu.stream.StreamBytes.PAGE;
import static io.pageflux.qemu.stream.StreamBytes.page;
import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import io.pageflux.transport.TransportBuffer;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;
import reactor.test.publisher.TestPublisher;

class QemuStreamsTest {

  private static final Duration PATIENCE = Duration.ofSeconds(30);
  private static final RamLayout LAYOUT =
      new RamLayout(List.of(new RamBlockLayout("pc.ram", 64 * PAGE, PAGE)));

  private final SlabPool pool = new SlabPool(2, ReaderRun.GEOMETRY);
  private final AtomicInteger buffersOut = new AtomicInteger();
  private final AtomicLong requested = new AtomicLong();

  @AfterEach
  void nothingIsLeft() {
    assertThat(buffersOut).hasValue(0);
    assertThat(pool.outstanding()).isZero();
    pool.close();
  }

  private Flux<TransportBuffer> chunks(byte[] stream, int chunk) {
    return Flux.range(0, (stream.length + chunk - 1) / chunk)
        .map(
            i -> {
              buffersOut.incrementAndGet();
              int at = i * chunk;
              return new TransportBuffer(
                  ByteBuffer.wrap(stream, at, Math.min(chunk, stream.length - at)),
                  buffersOut::decrementAndGet);
            })
        .doOnRequest(requested::addAndGet);
  }

  private static byte[] manyPages() {
    StreamBytes stream = StreamBytes.upToPart();
    for (int round = 0; round < 10; round++) {
      stream.raw("pc.ram", 0, page(round));
      for (int i = 1; i < 16; i++) {
        stream.rawContinued(i, page(round + i));
      }
      stream.eos().footer().part();
    }
    return stream.finish().toBytes();
  }

  @Test
  void allPagesComeThroughAPoolOfTwoSlabs() {
    byte[] stream = manyPages();
    List<String> pages = new ArrayList<>();
    StepVerifier.create(
            QemuStreams.read(chunks(stream, 10_000), pool)
                .doOnNext(
                    element -> {
                      if (element instanceof QemuElement.Pages some) {
                        pages.addAll(ReaderRun.describe(some.batch()));
                      }
                      element.release();
                    })
                .then())
        .verifyComplete();
    assertThat(pages).isEqualTo(ReaderRun.of(stream).pages()).hasSize(160);
  }

  @Test
  void nothingIsReadAheadOfTheDemand() {
    StepVerifier.create(QemuStreams.read(chunks(manyPages(), 50), pool), 0)
        .expectSubscription()
        .thenRequest(1)
        .expectNextMatches(e -> e instanceof QemuElement.Header)
        .then(() -> assertThat(requested.get()).isLessThanOrEqualTo(2))
        .thenRequest(1)
        .expectNextMatches(e -> e instanceof QemuElement.Configuration)
        .then(() -> assertThat(requested.get()).isLessThanOrEqualTo(3))
        .thenCancel()
        .verify(PATIENCE);
  }

  @Test
  void whenAllSlabsAreOutReadingWaitsForOne() {
    List<QemuElement> held = new ArrayList<>();
    StepVerifier.create(
            QemuStreams.read(chunks(manyPages(), 200_000), pool)
                .filter(e -> e instanceof QemuElement.Pages)
                .doOnNext(held::add),
            Long.MAX_VALUE)
        .expectNextCount(2)
        .then(() -> assertThat(pool.outstanding()).isEqualTo(2))
        .then(() -> held.remove(0).release())
        .expectNextCount(1)
        .thenCancel()
        .verify(PATIENCE);
    held.forEach(QemuElement::release);
  }

  @Test
  void aCancelWhileWaitingForASlabLeavesNothingBehind() {
    List<QemuElement> held = new ArrayList<>();
    StepVerifier.create(
            QemuStreams.read(chunks(manyPages(), 3000), pool)
                .filter(e -> e instanceof QemuElement.Pages)
                .doOnNext(held::add))
        .expectNextCount(2)
        .thenCancel()
        .verify(PATIENCE);
    held.forEach(QemuElement::release);
  }

  @Test
  void aCancelAnywhereLeavesNothingBehind() {
    byte[] stream = manyPages();
    int elements = ReaderRun.of(stream).elements().size();
    for (int n = 0; n < elements; n++) {
      StepVerifier.create(
              QemuStreams.read(chunks(stream, 5000), pool)
                  .take(n)
                  .doOnNext(QemuElement::release)
                  .count())
          .expectNext((long) n)
          .verifyComplete();
      assertThat(pool.outstanding()).isZero();
      assertThat(buffersOut).hasValue(0);
    }
  }

  @Test
  void aCancelFromAnotherThreadLeavesNothingBehind() {
    byte[] stream = manyPages();
    for (int n = 0; n < 200; n++) {
      int after = n % 20;
      AtomicInteger seen = new AtomicInteger();
      Flux<QemuElement> elements =
          QemuStreams.read(chunks(stream, 3000).publishOn(Schedulers.parallel(), 1), pool)
              .doOnNext(QemuElement::release)
              .doOnNext(e -> seen.incrementAndGet());
      // The other's completion cancels, on its own thread, while elements come.
      elements
          .takeUntilOther(
              Flux.<Integer>create(
                      sink -> {
                        while (seen.get() < after) {
                          Thread.onSpinWait();
                        }
                        sink.complete();
                      })
                  .subscribeOn(Schedulers.boundedElastic()))
          .blockLast(PATIENCE);
      awaitIdle();
    }
  }

  /** The thread that was interrupted by the cancel has to notice, which no signal tells. */
  private void awaitIdle() {
    long end = System.nanoTime() + PATIENCE.toNanos();
    while ((pool.outstanding() > 0 || buffersOut.get() > 0) && System.nanoTime() < end) {
      Thread.onSpinWait();
    }
    assertThat(pool.outstanding()).isZero();
    assertThat(buffersOut).hasValue(0);
  }

  @Test
  void aFaultEndsTheFluxAndGivesBackWhatWasHeld() {
    byte[] stream =
        StreamBytes.upToPart()
            .raw("pc.ram", 0, page(1))
            .record(1, 0x80)
            .bytes(new byte[99])
            .toBytes();
    StepVerifier.create(
            QemuStreams.read(chunks(stream, 4000), pool).doOnNext(QemuElement::release).then())
        .expectErrorSatisfies(e -> assertThat(e).hasMessageContaining("RDMA"))
        .verify(PATIENCE);
  }

  @Test
  void aStreamThatEndsTooEarlyIsAnError() {
    byte[] stream = StreamBytes.upToPart().raw("pc.ram", 0, page(1)).toBytes();
    List<String> seen = new ArrayList<>();
    StepVerifier.create(
            QemuStreams.read(chunks(stream, 4000), pool)
                .doOnNext(e -> seen.add(e.getClass().getSimpleName()))
                .doOnNext(QemuElement::release)
                .then())
        .expectErrorSatisfies(
            e ->
                assertThat(e)
                    .isInstanceOf(MigrationException.class)
                    .hasMessageContaining("another record or EOS"))
        .verify(PATIENCE);
    assertThat(seen).endsWith("Pages"); // what had arrived was passed on
  }

  @Test
  void aFailureOfTheSourceIsPassedOn() {
    TestPublisher<TransportBuffer> source = TestPublisher.create();
    StepVerifier.create(QemuStreams.read(source.flux(), pool).doOnNext(QemuElement::release))
        .then(() -> source.next(TransportBuffer.of(StreamBytes.upToPart().buffer())))
        .expectNextCount(7)
        .then(() -> source.next(TransportBuffer.of(new StreamBytes().zero("pc.ram", 0).buffer())))
        .then(() -> source.error(new IllegalStateException("gone")))
        .expectErrorMessage("gone")
        .verify(PATIENCE);
  }

  private Flux<PageBatch> batches(int count) {
    return Flux.range(0, count)
        .map(
            i -> {
              PageBatch batch = TestPages.empty(pool, 0, LAYOUT.blocks().get(0));
              TestPages.append(batch, i, PageKind.RAW, page(i));
              batch.append(i + 1, PageKind.ZERO, 0);
              return batch;
            });
  }

  private static QemuStreamSpec spec() {
    return new QemuStreamSpec("pc", QemuRamLayout.of(LAYOUT));
  }

  private byte[] written(QemuStreamSpec spec) {
    StreamBytes bytes = new StreamBytes();
    StepVerifier.create(
            QemuStreams.write(spec, batches(20))
                .doOnNext(
                    buffer -> {
                      bytes.bytes(ReaderRun.bytes(buffer.bytes()));
                      buffer.release();
                    }))
        .expectNextCount(22)
        .verifyComplete();
    return bytes.toBytes();
  }

  @Test
  void aWrittenStreamIsReadBackInSections() {
    ReaderRun run = ReaderRun.of(written(spec().withSectionBytes(3 * PAGE)));
    assertThat(run.error()).isNull();
    assertThat(run.pages()).hasSize(40).contains(ReaderRun.raw("pc.ram", 7, page(7)));
    assertThat(run.elements().stream().filter(e -> e.startsWith("SectionPart"))).hasSize(7);
    assertThat(run.elements().stream().filter(e -> e.startsWith("SectionEnd"))).hasSize(1);
  }

  @Test
  void aCompressedStreamNeverHasAPageTwiceInASection() {
    ReaderRun run = ReaderRun.of(written(spec().withCompression(1)));
    assertThat(run.error()).isNull();
    assertThat(run.pages()).hasSize(40).contains(ReaderRun.raw("pc.ram", 7, page(7)));
    assertThat(run.elements().stream().filter(e -> e.startsWith("SectionPart"))).hasSize(20);
  }

  @Test
  void aStreamWithoutPagesIsWholeToo() {
    StreamBytes bytes = new StreamBytes();
    QemuStreams.write(spec(), Flux.empty())
        .doOnNext(buffer -> bytes.bytes(ReaderRun.bytes(buffer.bytes())))
        .blockLast();
    assertThat(ReaderRun.of(bytes.toBytes()).error()).isNull();
  }

  @Test
  void writtenBatchesAreRequestedOneByOne() {
    StepVerifier.create(
            QemuStreams.write(spec(), batches(20).doOnRequest(requested::addAndGet))
                .doOnNext(TransportBuffer::release),
            0)
        .thenRequest(2)
        .expectNextCount(2)
        .then(() -> assertThat(requested).hasValue(1))
        .thenRequest(1)
        .expectNextCount(1)
        .thenCancel()
        .verify(PATIENCE);
  }

  @Test
  void aBatchOfAnotherLayoutIsRefusedAndReleased() {
    Flux<PageBatch> wrong =
        Flux.defer(
            () -> {
              PageBatch batch =
                  TestPages.empty(pool, 0, new RamBlockLayout("pc.ram", 32 * PAGE, PAGE));
              batch.append(0, PageKind.ZERO, 0);
              return Flux.just(batch);
            });
    StepVerifier.create(QemuStreams.write(spec(), wrong).doOnNext(TransportBuffer::release))
        .expectNextCount(1)
        .expectErrorSatisfies(
            e ->
                assertThat(e)
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("the batch is of block pc.ram: 131072 bytes"))
        .verify(PATIENCE);
  }
}
