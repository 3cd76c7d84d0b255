package io.pageflux.qemu.stream;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import io.pageflux.transport.TransportBuffer;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.OptionalLong;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.test.StepVerifier;
import reactor.test.publisher.TestPublisher;

/** A stream that goes over to post-copy is read. */
class PostcopyStreamTest {

  private static final int PAGE = 4096;
  private static final long HUGE = 2 << 20;
  private static final BatchGeometry GEOMETRY = new BatchGeometry(16, 64 << 10);
  private static final RamBlockLayout RAM = new RamBlockLayout("pc.ram", 2 * HUGE, PAGE);

  private final SlabPool pool = new SlabPool(3, GEOMETRY);
  private final byte[] blob = new byte[100_000];

  @AfterEach
  void close() {
    assertThat(pool.toString()).contains("[0 of");
    pool.close();
  }

  private static QemuRamLayout.Block block(String name, long bytes, long hostPage) {
    return new QemuRamLayout.Block(
        name,
        bytes,
        hostPage == PAGE ? OptionalLong.empty() : OptionalLong.of(hostPage),
        OptionalLong.empty());
  }

  private static byte[] bytes(ByteBuffer buffer) {
    byte[] bytes = new byte[buffer.remaining()];
    buffer.get(bytes);
    return bytes;
  }

  private byte[] page(QemuStreamWriter writer, long page, PageKind kind) {
    PageBatch batch =
        new PageBatch(
            0, RAM, Objects.requireNonNull(pool.tryAcquire()), GEOMETRY.headroomBytes(), GEOMETRY);
    batch.append(page, kind, kind == PageKind.ZERO ? 0 : PAGE);
    TransportBuffer records = writer.pages(batch);
    byte[] bytes = bytes(records.bytes());
    records.release();
    return bytes;
  }

  /** The stream up to the package, and what comes then. */
  private byte[] upToPackage(QemuStreamWriter writer, QemuRamLayout layout, long hostPages) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (ByteBuffer part :
        List.of(
            writer.header(),
            writer.configuration("pc", List.of()),
            writer.command(QemuCommand.OPEN_RETURN_PATH, ByteBuffer.allocate(0)),
            writer.command(
                QemuCommand.POSTCOPY_ADVISE, new PostcopyPayload.Advice(hostPages, PAGE).payload()),
            writer.sectionStart(),
            writer.ramBlocks(layout),
            writer.endOfSection(),
            writer.command(
                QemuCommand.POSTCOPY_RAM_DISCARD,
                new PostcopyPayload.Discard(
                        "pc.ram", List.of(new PostcopyPayload.Range(0, 2 * HUGE)))
                    .payload()),
            writer.command(QemuCommand.PACKAGED, PostcopyPayload.packaged(blob.length)))) {
      out.writeBytes(bytes(part));
    }
    new Random(1).nextBytes(blob);
    out.writeBytes(blob);
    return out.toByteArray();
  }

  private byte[] whole(QemuRamLayout layout, long hostPages) {
    try (QemuStreamWriter writer = new QemuStreamWriter()) {
      ByteArrayOutputStream out = new ByteArrayOutputStream();
      out.writeBytes(upToPackage(writer, layout, hostPages));
      out.writeBytes(bytes(writer.sectionPart()));
      out.writeBytes(page(writer, 7, PageKind.RAW));
      out.writeBytes(page(writer, 3, PageKind.ZERO));
      out.writeBytes(bytes(writer.endOfSection()));
      out.writeBytes(bytes(writer.sectionEnd()));
      out.writeBytes(bytes(writer.endOfSection()));
      out.write(0);
      return out.toByteArray();
    }
  }

  private static final QemuRamLayout PLAIN =
      new QemuRamLayout(List.of(block("pc.ram", 2 * HUGE, PAGE), block("bios", PAGE, PAGE)));

  private static final List<QemuRamLayout> LAYOUTS =
      List.of(
          PLAIN,
          new QemuRamLayout(List.of(block("pc.ram", 2 * HUGE, HUGE), block("bios", PAGE, PAGE))),
          new QemuRamLayout(List.of(block("pc.ram", 2 * HUGE, PAGE), block("more", HUGE, HUGE))),
          new QemuRamLayout(List.of(block("pc.ram", 2 * HUGE, HUGE), block("more", HUGE, HUGE))));

  private byte[] again(byte[] stream, int chunk, QemuRamLayout expected) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try (QemuStreamWriter writer = new QemuStreamWriter()) {
      QemuStreams.readWithPostcopy(chunks(stream, chunk), pool, PAGE)
          .doOnNext(
              element -> {
                if (element instanceof QemuElement.RamBlocks blocks) {
                  assertThat(blocks.layout()).isEqualTo(expected);
                }
                if (element instanceof QemuElement.Pages pages) {
                  TransportBuffer records = writer.pages(pages.batch());
                  out.writeBytes(bytes(records.bytes()));
                  records.release();
                } else {
                  out.writeBytes(bytes(element.raw()));
                }
              })
          .blockLast(Duration.ofSeconds(60));
    }
    return out.toByteArray();
  }

  private static Flux<TransportBuffer> chunks(byte[] stream, int size) {
    List<TransportBuffer> buffers = new ArrayList<>();
    for (int at = 0; at < stream.length; at += size) {
      buffers.add(
          TransportBuffer.of(
              ByteBuffer.wrap(stream, at, Math.min(size, stream.length - at)).slice()));
    }
    return Flux.fromIterable(buffers);
  }

  @Test
  void whatWasReadIsTheStreamAgain() {
    for (QemuRamLayout layout : LAYOUTS) {
      byte[] stream = whole(layout, layout.equals(PLAIN) ? PAGE : HUGE | PAGE);
      for (int chunk : new int[] {1, 7, 4096, 1 << 20}) {
        assertThat(again(stream, chunk, layout)).isEqualTo(stream);
      }
    }
  }

  @Test
  void aPageDoesNotWaitForOthersWhenTheGuestHasBeenHandedOver() {
    TestPublisher<TransportBuffer> source = TestPublisher.create();
    try (QemuStreamWriter writer = new QemuStreamWriter()) {
      byte[] head = upToPackage(writer, PLAIN, PAGE);
      byte[] part = bytes(writer.sectionPart());
      byte[] first = page(writer, 7, PageKind.RAW);
      byte[] second = page(writer, 8, PageKind.ZERO);
      StepVerifier.create(
              QemuStreams.readWithPostcopy(source.flux(), pool, PAGE)
                  .filter(e -> e instanceof QemuElement.Pages)
                  .cast(QemuElement.Pages.class)
                  .doOnNext(QemuElement::release)
                  .map(pages -> pages.batch().page(0)))
          .then(() -> source.next(TransportBuffer.of(ByteBuffer.wrap(head))))
          .then(() -> source.next(TransportBuffer.of(ByteBuffer.wrap(part))))
          .then(() -> source.next(TransportBuffer.of(ByteBuffer.wrap(first))))
          .expectNext(7L)
          .then(
              () -> {
                // With the beginning of another, which has to wait for its end.
                byte[] more = Arrays.copyOf(second, second.length + first.length - 100);
                System.arraycopy(page(writer, 9, PageKind.RAW), 0, more, second.length, 1000);
                source.next(TransportBuffer.of(ByteBuffer.wrap(more, 0, second.length + 1000)));
              })
          .expectNext(8L)
          .thenCancel()
          .verify(Duration.ofSeconds(60));
    }
  }

  @Test
  void aStreamCutAnywhereIsRefused() {
    byte[] stream = whole(LAYOUTS.get(3), HUGE | PAGE);
    Random random = new Random(2);
    int end = 1;
    while (end < stream.length) {
      byte[] cut = Arrays.copyOf(stream, end);
      assertThatThrownBy(
              () ->
                  QemuStreams.readWithPostcopy(chunks(cut, 1 << 16), pool, PAGE)
                      .doOnNext(QemuElement::release)
                      .blockLast(Duration.ofSeconds(60)))
          .as("cut at byte %d", end)
          .isInstanceOf(MigrationException.class);
      boolean inBulk = end > 400 && end < stream.length - 60;
      end += inBulk ? 1 + random.nextInt(2000) : 1;
    }
  }

  @Test
  void hostPagesThatTheAdviceDoesNotNameAreRefused() {
    QemuRamLayout layout =
        new QemuRamLayout(List.of(block("pc.ram", 2 * HUGE, 1 << 16), block("bios", PAGE, PAGE)));
    byte[] stream = whole(layout, HUGE | PAGE);
    assertThatThrownBy(() -> again(stream, 1000, layout))
        .isInstanceOf(MigrationException.class)
        .hasMessageContaining("host pages of 65536 bytes");
  }

  @Test
  void aStreamThatGoesOnIsPassedOnUnread() {
    byte[] stream = new byte[300_000];
    new Random(4).nextBytes(stream);
    stream[0] = QemuFormat.COMMAND;
    assertThat(again(stream, 100_000, PLAIN)).isEqualTo(stream);
  }
}
