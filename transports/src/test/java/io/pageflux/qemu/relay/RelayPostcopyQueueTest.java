package io.pageflux.qemu.relay;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.memory.RamBlockLayout;
import io.pageflux.migration.CompressionSpec;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import io.pageflux.qemu.stream.PostcopyPayload;
import io.pageflux.qemu.stream.QemuCommand;
import io.pageflux.qemu.stream.QemuRamLayout;
import io.pageflux.qemu.stream.QemuStreamWriter;
import io.pageflux.transport.Connection;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.TransportBuffer;
import io.pageflux.wire.Feature;
import io.pageflux.wire.WireReader;
import io.pageflux.wire.WireRecord;
import io.pageflux.wire.WireWriter;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.OptionalLong;
import java.util.Random;
import java.util.UUID;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/** How much lies at the source's relay before a page that somebody waits for. */
class RelayPostcopyQueueTest {

  private static final Duration PATIENCE = Duration.ofSeconds(30);
  private static final int PAGE = 4096;
  private static final int PAGES = 512;
  private static final int CHUNK = 64 << 10;
  private static final RamBlockLayout RAM = new RamBlockLayout("pc.ram", PAGES * PAGE, PAGE);
  private static final ByteBuffer NO_PAYLOAD = ByteBuffer.allocate(0);

  private final SlabPool slabs = new SlabPool(8, new BatchGeometry(128, 512 << 10));
  private final WireReader reader = new WireReader();
  private final WireWriter writer = new WireWriter();
  private final Sinks.Many<TransportBuffer> said = Sinks.many().unicast().onBackpressureBuffer();
  private final AtomicLong takenFromQemu = new AtomicLong();
  private final CountDownLatch pagesCome = new CountDownLatch(1);
  private final CountDownLatch allHasCome = new CountDownLatch(PAGES);
  private final List<Integer> batches = new CopyOnWriteArrayList<>();
  private long heard;
  private boolean passesOn;

  /** The other relay, which passes no page on before it is told to. */
  private void take(TransportBuffer buffer) {
    for (WireRecord record = reader.read(buffer.bytes());
        record != null;
        record = reader.read(buffer.bytes())) {
      switch (record) {
        case WireRecord.Layout layout -> reader.expectPages(layout.layout(), slabs, Feature.all());
        case WireRecord.Pages pages -> {
          int size = pages.batch().size();
          batches.add(size);
          pages.batch().release();
          pagesCome.countDown();
          for (int i = 0; i < size; i++) {
            allHasCome.countDown();
          }
        }
        default -> {}
      }
      if (RelayRecords.counts(record)) {
        passOn(record instanceof WireRecord.Pages);
      }
    }
    buffer.release();
  }

  private synchronized void passOn(boolean isPages) {
    heard++;
    if (passesOn || !isPages) {
      said.tryEmitNext(writer.write(new WireRecord.Progress(0, heard)));
    }
  }

  private synchronized void passOnFromNowOn() {
    passesOn = true;
    said.tryEmitNext(writer.write(new WireRecord.Progress(0, heard)));
  }

  /** A stream whose guest is handed over before a page of it was sent. */
  private byte[] stream() {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try (QemuStreamWriter qemu = new QemuStreamWriter()) {
      for (ByteBuffer part :
          List.of(
              qemu.header(),
              qemu.configuration("pc-i440fx-7.2", List.of()),
              qemu.command(QemuCommand.OPEN_RETURN_PATH, NO_PAYLOAD),
              qemu.command(
                  QemuCommand.POSTCOPY_ADVISE, new PostcopyPayload.Advice(PAGE, PAGE).payload()),
              qemu.sectionStart(),
              qemu.ramBlocks(
                  new QemuRamLayout(
                      List.of(
                          new QemuRamLayout.Block(
                              "pc.ram",
                              PAGES * PAGE,
                              OptionalLong.empty(),
                              OptionalLong.empty())))),
              qemu.endOfSection(),
              qemu.command(
                  QemuCommand.POSTCOPY_RAM_DISCARD,
                  new PostcopyPayload.Discard(
                          "pc.ram", List.of(new PostcopyPayload.Range(0, PAGES * PAGE)))
                      .payload()),
              qemu.command(QemuCommand.PACKAGED, PostcopyPayload.packaged(4)),
              ByteBuffer.allocate(4),
              qemu.sectionPart())) {
        append(out, part);
      }
      Random random = new Random(3);
      byte[] noise = new byte[PAGE];
      for (int first = 0; first < PAGES; first += 128) {
        PageBatch batch =
            new PageBatch(
                0,
                RAM,
                Objects.requireNonNull(slabs.tryAcquire()),
                slabs.geometry().headroomBytes(),
                slabs.geometry());
        for (int page = first; page < first + 128; page++) {
          random.nextBytes(noise);
          batch.lease().buffer().put(batch.payloadOffset() + batch.payloadBytes(), noise, 0, PAGE);
          batch.append(page, PageKind.RAW, PAGE);
        }
        TransportBuffer records = qemu.pages(batch);
        append(out, records.bytes());
        records.release();
      }
      append(out, qemu.endOfSection());
    }
    return out.toByteArray();
  }

  private static void append(ByteArrayOutputStream out, ByteBuffer part) {
    byte[] bytes = new byte[part.remaining()];
    part.get(bytes);
    out.writeBytes(bytes);
  }

  private Flux<TransportBuffer> chunks() {
    byte[] bytes = stream();
    return Flux.range(0, (bytes.length + CHUNK - 1) / CHUNK)
        .map(
            i -> {
              int from = i * CHUNK;
              int length = Math.min(CHUNK, bytes.length - from);
              ByteBuffer chunk = ByteBuffer.wrap(bytes, from, length).slice();
              return new TransportBuffer(chunk, () -> takenFromQemu.addAndGet(length));
            });
  }

  private void relay(RelaySpec spec) throws InterruptedException {
    InMemoryTransport between = InMemoryTransport.create(256);
    InMemoryTransport fromQemu = InMemoryTransport.create();
    QemuRelay.source(spec, fromQemu.acceptor(), between.connector()).subscribe(info -> {}, e -> {});
    Connection qemu =
        Objects.requireNonNull(Mono.from(fromQemu.connector().connect()).block(PATIENCE));
    qemu.send(Flux.concat(chunks(), Flux.never())).subscribe(v -> {}, e -> {});
    Connection peer =
        Objects.requireNonNull(Mono.<Connection>from(between.acceptor().accept()).block(PATIENCE));
    peer.send(said.asFlux()).subscribe(v -> {}, e -> {});
    said.tryEmitNext(writer.write(RelayLink.hello(new UUID(1, 2))));
    peer.receive().subscribe(this::take, e -> {});
    assertThat(pagesCome.await(PATIENCE.toSeconds(), TimeUnit.SECONDS)).isTrue();
    // One batch under way, and what was read meanwhile, with what is no page.
    assertThat(batches).hasSize(1);
    assertThat(takenFromQemu.get()).isLessThanOrEqualTo(64 << 10);
    passOnFromNowOn();
    assertThat(allHasCome.await(PATIENCE.toSeconds(), TimeUnit.SECONDS)).isTrue();
    qemu.dispose();
    peer.dispose();
    reader.close();
    slabs.close();
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void littleLiesBeforeAPageThatSomebodyWaitsFor(boolean compressed) throws InterruptedException {
    relay(
        RelaySpec.DEFAULT
            .withXbzrle(null)
            .withCompression(compressed ? new CompressionSpec(1, 2) : null));
    assertThat(batches).hasSizeGreaterThanOrEqualTo(PAGES * PAGE / (32 << 10));
    assertThat(batches).allMatch(size -> size * PAGE <= 32 << 10);
  }

  @Test
  void theWindowIsOfOneBatchAndGrowsOnlyWhereNothingWaits() {
    RelayWindow window = new RelayWindow();
    window.keepSmall();
    long record = (32 << 10) + 64;
    assertThat(window.sent(record, 0)).isNotNull();
    window.sent(record, 0);
    // A link of 20 Mbit/s: each waits for the one before it.
    long now = 0;
    for (long passed = 1; passed < 500; passed++) {
      now += 13_000_000;
      assertThat(window.passedOn(passed, now)).isTrue();
      window.sent(record, now);
    }
    assertThat(window.windowBytes()).isLessThan(64 << 10);
  }
}
