package io.pageflux.qemu.stream;

import static io.pageflux.qemu.stream.StreamBytes.PAGE;
import static io.pageflux.qemu.stream.StreamBytes.page;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import io.pageflux.transport.TransportBuffer;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.OptionalLong;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class QemuStreamWriterTest {

  private static final RamBlockLayout RAM = new RamBlockLayout("pc.ram", 16 * PAGE, PAGE);
  private static final RamBlockLayout BIOS = new RamBlockLayout("pc.bios", 2 * PAGE, PAGE);

  private final SlabPool pool = new SlabPool(4, ReaderRun.GEOMETRY);

  @AfterEach
  void nothingIsLeased() {
    assertThat(pool.outstanding()).isZero();
    pool.close();
  }

  private static byte[] bytes(ByteBuffer buffer) {
    return ReaderRun.bytes(buffer);
  }

  @Test
  void theFramingIsWhatQemuAccepts() {
    StreamBytes written = new StreamBytes();
    try (QemuStreamWriter writer = new QemuStreamWriter(StreamBytes.ID, 0)) {
      QemuRamLayout layout =
          new QemuRamLayout(
              List.of(
                  new QemuRamLayout.Block("pc.ram", 16 * PAGE),
                  new QemuRamLayout.Block("pc.bios", 2 * PAGE)));
      for (ByteBuffer piece :
          List.of(
              writer.header(),
              writer.configuration("pc-i440fx-7.2", List.of()),
              writer.sectionStart(),
              writer.ramBlocks(layout),
              writer.endOfSection(),
              writer.sectionPart(),
              writer.endOfSection(),
              writer.sectionEnd(),
              writer.endOfSection(),
              writer.endOfStream())) {
        written.bytes(bytes(piece));
      }
    }
    assertThat(written.toBytes()).isEqualTo(StreamBytes.upToPart().finish().toBytes());
  }

  @Test
  void capabilitiesAddressesAndCommandsAreWrittenAsTheyAreRead() {
    QemuRamLayout layout =
        new QemuRamLayout(
            List.of(
                new QemuRamLayout.Block(
                    "a", PAGE, OptionalLong.empty(), OptionalLong.of(0xfffc0000L))));
    QemuStreamWriter writer = new QemuStreamWriter();
    byte[] stream =
        new StreamBytes()
            .bytes(bytes(writer.header()))
            .bytes(bytes(writer.configuration("q35", List.of("x-ignore-shared"))))
            .bytes(
                bytes(writer.command(QemuCommand.PING, ByteBuffer.wrap(new byte[] {0, 0, 0, 5}))))
            .bytes(bytes(writer.sectionStart()))
            .bytes(bytes(writer.ramBlocks(layout)))
            .toBytes();
    QemuStreamReader reader = new QemuStreamReader(ReaderRun.GEOMETRY);
    ByteBuffer in = ByteBuffer.wrap(stream);
    List<QemuElement> elements = new ArrayList<>();
    QemuElement element;
    while ((element = reader.read(in)) != null) {
      elements.add(element);
    }
    assertThat(((QemuElement.Configuration) elements.get(1)).capabilities())
        .containsExactly("x-ignore-shared");
    assertThat(((QemuElement.Command) elements.get(2)).payload().getInt()).isEqualTo(5);
    assertThat(((QemuElement.RamBlocks) elements.get(4)).layout()).isEqualTo(layout);
  }

  private PageBatch mixed(int payloadOffset) {
    PageBatch batch = TestPages.empty(pool, 0, RAM, payloadOffset);
    TestPages.append(batch, 0, PageKind.RAW, page(1));
    batch.append(1, PageKind.ZERO, 0);
    TestPages.append(batch, 5, PageKind.DELTA, new byte[] {1, 2, 3, 4});
    TestPages.append(batch, 6, PageKind.RAW, page(2));
    return batch;
  }

  private static StreamBytes mixedRecords() {
    return new StreamBytes()
        .raw("pc.ram", 0, page(1))
        .record(1, 0x22)
        .u8(0)
        .deltaContinued(5, new byte[] {1, 2, 3, 4})
        .rawContinued(6, page(2));
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void pageRecordsAreWhatQemuAccepts(boolean inPlace) {
    QemuStreamWriter writer = new QemuStreamWriter();
    TransportBuffer out = writer.pages(mixed(inPlace ? ReaderRun.GEOMETRY.headroomBytes() : 0));
    assertThat(out.bytes().isDirect()).isEqualTo(inPlace);
    assertThat(bytes(out.bytes())).isEqualTo(mixedRecords().toBytes());
    assertThat(pool.outstanding()).isEqualTo(1);
    out.release();
  }

  @Test
  void theBlockIsNamedOnlyWhenItChanges() {
    QemuStreamWriter writer = new QemuStreamWriter();
    StreamBytes written = new StreamBytes();
    for (RamBlockLayout block : List.of(RAM, RAM, BIOS, RAM)) {
      PageBatch batch = TestPages.empty(pool, 0, block);
      batch.append(1, PageKind.ZERO, 0);
      TransportBuffer out = writer.pages(batch);
      written.bytes(bytes(out.bytes()));
      out.release();
    }
    assertThat(written.toBytes())
        .isEqualTo(
            new StreamBytes()
                .zero("pc.ram", 1)
                .record(1, 0x22)
                .u8(0)
                .zero("pc.bios", 1)
                .zero("pc.ram", 1)
                .toBytes());
    assertThat(writer.bytesOfPages()).isEqualTo(written.size());
  }

  @Test
  void compressedPagesAreReadBack() {
    try (QemuStreamWriter writer = new QemuStreamWriter(StreamBytes.ID, 1)) {
      byte[] noise = new byte[PAGE];
      new Random(1).nextBytes(noise);
      PageBatch batch = mixed(ReaderRun.GEOMETRY.headroomBytes());
      TestPages.append(batch, 7, PageKind.RAW, noise);
      List<String> pages = ReaderRun.describe(batch);
      TransportBuffer out = writer.pages(batch);
      byte[] records = bytes(out.bytes());
      out.release();
      assertThat(records.length).isLessThan(2 * PAGE);
      ReaderRun run = ReaderRun.of(StreamBytes.upToPart().bytes(records).finish().toBytes());
      assertThat(run.error()).isNull();
      assertThat(run.pages()).isEqualTo(pages);
    }
  }

  @Test
  void whatCannotBeWrittenIsRefused() {
    QemuStreamWriter writer = new QemuStreamWriter();
    PageBatch empty = TestPages.empty(pool, 0, RAM);
    assertThatThrownBy(() -> writer.pages(empty)).isInstanceOf(IllegalArgumentException.class);
    empty.release();
    PageBatch compressed = mixed(ReaderRun.GEOMETRY.headroomBytes());
    compressed.markCompressed(10);
    assertThatThrownBy(() -> writer.pages(compressed)).isInstanceOf(IllegalStateException.class);
    compressed.release();
    PageBatch gone = mixed(0);
    gone.release();
    assertThatThrownBy(() -> writer.pages(gone)).isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> new QemuStreamWriter(2, 10))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> writer.command(QemuCommand.PING, ByteBuffer.allocate(3)))
        .isInstanceOf(IllegalArgumentException.class);
    QemuRamLayout.Block with =
        new QemuRamLayout.Block("a", PAGE, OptionalLong.empty(), OptionalLong.of(0));
    QemuRamLayout some = new QemuRamLayout(List.of(with, new QemuRamLayout.Block("b", PAGE)));
    assertThatThrownBy(() -> writer.ramBlocks(some)).isInstanceOf(IllegalArgumentException.class);
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8})
  void anyBatchesComeBackAsTheyWere(long seed) {
    Random random = new Random(seed);
    for (int pageSize : new int[] {1024, 4096, 16384}) {
      BatchGeometry geometry = new BatchGeometry(1 + random.nextInt(20), 65536);
      try (SlabPool slabs = new SlabPool(2, geometry);
          QemuStreamWriter writer = new QemuStreamWriter(StreamBytes.ID, random.nextInt(2))) {
        StreamBytes stream = new StreamBytes().bytes(bytes(writer.header()));
        String longName = "n".repeat(255);
        RamBlockLayout[] blocks = {
          new RamBlockLayout("a", 64L * pageSize, pageSize),
          new RamBlockLayout(longName, 64L * pageSize, pageSize)
        };
        QemuRamLayout layout = QemuRamLayout.of(new RamLayout(List.of(blocks)));
        stream.bytes(bytes(writer.sectionStart())).bytes(bytes(writer.ramBlocks(layout)));
        List<String> pages = new ArrayList<>();
        for (int n = 0; n < 30; n++) {
          int index = random.nextInt(2);
          int offset = random.nextInt(4) == 0 ? 0 : geometry.headroomBytes();
          PageBatch batch = TestPages.empty(slabs, index, blocks[index], offset);
          for (int page = random.nextInt(8);
              page < 64 && batch.hasRoom();
              page += 1 + random.nextInt(4)) {
            switch (random.nextInt(3)) {
              case 0 -> batch.append(page, PageKind.ZERO, 0);
              case 1 -> TestPages.append(batch, page, PageKind.RAW, noise(random, pageSize));
              default ->
                  TestPages.append(
                      batch, page, PageKind.DELTA, noise(random, 1 + random.nextInt(pageSize)));
            }
          }
          pages.addAll(ReaderRun.describe(batch));
          TransportBuffer out = writer.pages(batch);
          stream.bytes(bytes(out.bytes()));
          out.release();
        }
        stream.bytes(bytes(writer.endOfSection())).bytes(bytes(writer.endOfStream()));
        List<String> read = new ArrayList<>();
        QemuStreamReader reader = new QemuStreamReader(geometry, pageSize);
        ByteBuffer in = stream.buffer();
        while (true) {
          QemuElement element = reader.read(in);
          if (element instanceof QemuElement.Pages some) {
            read.addAll(ReaderRun.describe(some.batch()));
            some.release();
          } else if (element == null && reader.needsSlab()) {
            reader.supply(Objects.requireNonNull(slabs.tryAcquire()));
          } else if (element == null) {
            break;
          }
        }
        reader.close();
        assertThat(read).as("seed %d, pages of %d", seed, pageSize).isEqualTo(pages);
        assertThat(slabs.outstanding()).isZero();
      }
    }
  }

  private static byte[] noise(Random random, int length) {
    byte[] bytes = new byte[length];
    for (int i = 0; i < length; i += 1 + random.nextInt(9)) {
      bytes[i] = (byte) random.nextInt();
    }
    return bytes;
  }
}
