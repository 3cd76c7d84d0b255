package io.pageflux.qemu.stream;

import static io.pageflux.qemu.stream.StreamBytes.PAGE;
import static io.pageflux.qemu.stream.StreamBytes.page;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.SlabPool;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.OptionalLong;
import java.util.UUID;
import org.junit.jupiter.api.Test;

class QemuStreamReaderTest {

  private static final byte[] DELTA = {3, 1, 9};

  private static byte[] allKinds() {
    byte[] filled = new byte[PAGE];
    Arrays.fill(filled, (byte) 0xa5);
    return StreamBytes.upToPart()
        .zero("pc.ram", 0)
        .rawContinued(1, page(1))
        .deltaContinued(2, DELTA)
        .deltaContinued(3, new byte[0])
        .compressedContinued(4, page(4))
        .record(5, 0x22)
        .u8(0xa5)
        .deltaContinued(6, page(6))
        .eos()
        .footer()
        .part()
        .rawContinued(7, page(7)) // the block survives the section
        .raw("pc.bios", 0, page(8))
        .record(1, 0x22)
        .u8(0)
        .raw("pc.ram", 1, page(9))
        .rawContinued(0, page(10))
        .finish()
        .toBytes();
  }

  private static List<String> allPages() {
    byte[] filled = new byte[PAGE];
    Arrays.fill(filled, (byte) 0xa5);
    return List.of(
        ReaderRun.zero("pc.ram", 0),
        ReaderRun.raw("pc.ram", 1, page(1)),
        ReaderRun.delta("pc.ram", 2, DELTA),
        ReaderRun.raw("pc.ram", 4, page(4)),
        ReaderRun.raw("pc.ram", 5, filled),
        ReaderRun.delta("pc.ram", 6, page(6)),
        ReaderRun.raw("pc.ram", 7, page(7)),
        ReaderRun.raw("pc.bios", 0, page(8)),
        ReaderRun.zero("pc.bios", 1),
        ReaderRun.raw("pc.ram", 1, page(9)),
        ReaderRun.raw("pc.ram", 0, page(10)));
  }

  @Test
  void everyKindOfPageRecordIsRead() {
    ReaderRun run = ReaderRun.of(allKinds());
    assertThat(run.error()).isNull();
    assertThat(run.pages()).isEqualTo(allPages());
  }

  @Test
  void theSmallestStreamThatQemuAcceptsIsReadElementByElement() {
    ReaderRun run = ReaderRun.of(StreamBytes.upToPart().zero("pc.ram", 3).finish().toBytes());
    assertThat(run.error()).isNull();
    assertThat(run.elements())
        .containsExactly(
            "Header@0:5145564d00000003",
            "Configuration@8:070000000d70632d6934343066782d372e32",
            "SectionStart@26:0100000007" + "0372616d" + "0000000000000004",
            "RamBlocks@43:0000000000012004"
                + "0670632e72616d"
                + "0000000000010000"
                + "0770632e62696f73"
                + "0000000000002000",
            "EndOfRamData@82:0000000000000010",
            "Footer@90:7e00000007",
            "SectionPart@95:0200000007",
            "Pages@1001",
            "EndOfRamData@116:0000000000000010",
            "Footer@124:7e00000007",
            "SectionEnd@129:0300000007",
            "EndOfRamData@134:0000000000000010",
            "Footer@142:7e00000007",
            "DeviceTail@147:000600000000");
  }

  @Test
  void howTheBytesAreCutMakesNoDifference() {
    byte[] stream = allKinds();
    ReaderRun whole = ReaderRun.of(stream);
    // From the tail's first byte on, pieces are as the bytes came.
    List<String> framing = withoutTail(whole.elements());
    for (int chunk : new int[] {1, 2, 3, 7, 64, 4095, 4096, 4097}) {
      ReaderRun cut = ReaderRun.of(stream, chunk, false);
      assertThat(cut.error()).isNull();
      assertThat(cut.pages()).as("chunks of %d", chunk).isEqualTo(whole.pages());
      assertThat(withoutTail(cut.elements())).isEqualTo(framing);
    }
  }

  @Test
  void flushingAnywhereLosesNothing() {
    byte[] stream = allKinds();
    for (int chunk : new int[] {1, 5, 1000, 4097, 9000}) {
      ReaderRun cut = ReaderRun.of(stream, chunk, true);
      assertThat(cut.error()).isNull();
      assertThat(cut.pages()).as("chunks of %d", chunk).isEqualTo(allPages());
    }
  }

  private static List<String> withoutTail(List<String> elements) {
    return elements.stream().filter(e -> !e.startsWith("DeviceTail")).toList();
  }

  @Test
  void batchesEndWhenFullAndWhereTheBlockOrTheOrderChanges() {
    StreamBytes stream = StreamBytes.upToPart().zero("pc.ram", 0);
    for (int page = 1; page < 10; page++) {
      stream.record(page, 0x22).u8(0);
    }
    stream.zero("pc.bios", 0).zero("pc.ram", 12).record(12, 0x22).u8(0).record(2, 0x22).u8(0);
    ReaderRun run = ReaderRun.of(stream.finish().toBytes());
    assertThat(
            run.elements().stream()
                .filter(e -> e.startsWith("Pages"))
                .map(e -> e.charAt(e.length() - 1)))
        .containsExactly('8', '2', '1', '1', '1', '1');
  }

  @Test
  void aFullBatchDoesNotWaitForWhatComesNext() {
    StreamBytes stream = StreamBytes.upToPart().zero("pc.ram", 0);
    for (int page = 1; page < 8; page++) {
      stream.record(page, 0x22).u8(0);
    }
    ReaderRun run = ReaderRun.of(stream.toBytes());
    assertThat(run.pages()).hasSize(8);
    assertThat(run.failure()).hasMessageContaining("another record or EOS");
  }

  @Test
  void theConfigurationsSubsectionsAreRead() {
    byte[] bytes =
        new StreamBytes()
            .header()
            .configuration("q")
            .u8(5)
            .name("configuration/capabilities")
            .be32(1)
            .be32(1)
            .name("x-ignore-shared")
            .u8(5)
            .name("configuration/target-page-bits")
            .be32(1)
            .be32(13)
            .u8(5)
            .name("configuration/uuid")
            .be32(1)
            .be64(0x0011223344556677L)
            .be64(0x8899aabbccddeeffL)
            .start()
            .be64(0x4000 | 4)
            .name("ram0")
            .be64(0x4000)
            .be64(0x1_0000_0000L)
            .eos()
            .toBytes();
    QemuStreamReader reader = new QemuStreamReader(ReaderRun.GEOMETRY);
    ByteBuffer in = ByteBuffer.wrap(bytes);
    reader.read(in);
    QemuElement.Configuration read =
        (QemuElement.Configuration) Objects.requireNonNull(reader.read(in));
    assertThat(read.machineType()).isEqualTo("q");
    assertThat(read.capabilities()).containsExactly("x-ignore-shared");
    assertThat(read.targetPageBits()).hasValue(13);
    assertThat(read.uuid()).isEqualTo(UUID.fromString("00112233-4455-6677-8899-aabbccddeeff"));
    reader.read(in);
    QemuElement.RamBlocks blocks = (QemuElement.RamBlocks) Objects.requireNonNull(reader.read(in));
    assertThat(blocks.pageSizeBytes()).isEqualTo(8192);
    assertThat(blocks.layout().blocks())
        .containsExactly(
            new QemuRamLayout.Block(
                "ram0", 0x4000, OptionalLong.empty(), OptionalLong.of(0x1_0000_0000L)));
    assertThat(blocks.layout().hasAddresses()).isTrue();
  }

  @Test
  void commandsOfPrecopyArePassedOn() {
    byte[] bytes =
        new StreamBytes()
            .header()
            .configuration("pc")
            .command(1)
            .command(2, 0, 0, 0, 1)
            .start()
            .blocks()
            .be64(0x200)
            .eos()
            .footer()
            .command(11)
            .end()
            .eos()
            .footer()
            .u8(0)
            .toBytes();
    ReaderRun run = ReaderRun.of(bytes);
    assertThat(run.error()).isNull();
    assertThat(run.elements())
        .anyMatch(e -> e.startsWith("Command@") && e.endsWith(":0800010000"))
        .anyMatch(e -> e.startsWith("Command@") && e.endsWith(":080002000400000001"))
        .anyMatch(e -> e.startsWith("MultifdFlush@") && e.endsWith(":0000000000000200"))
        .anyMatch(e -> e.startsWith("Command@") && e.endsWith(":08000b0000"));
  }

  @Test
  void aSnapshotWithoutEndIsCompleteWhenTheDevicesBegin() {
    byte[] bytes =
        new StreamBytes()
            .header()
            .start()
            .blocks()
            .zero("pc.ram", 1)
            .eos()
            .footer()
            .hex("04 00000000 05 74696d6572 00000000 00000002 0123")
            .toBytes();
    ReaderRun run = ReaderRun.of(bytes);
    assertThat(run.error()).isNull();
    assertThat(run.pages()).hasSize(1);
    assertThat(run.elements()).last().asString().startsWith("DeviceTail@").endsWith("0123");
  }

  @Test
  void anEmptyBlockIsListedButHasNoPages() {
    StreamBytes stream =
        new StreamBytes()
            .header()
            .start()
            .be64(2L * PAGE | 4)
            .name("none")
            .be64(0)
            .name("some")
            .be64(2L * PAGE);
    byte[] right = stream.zero("some", 1).eos().footer().u8(0).toBytes();
    assertThat(ReaderRun.of(right).pages()).containsExactly(ReaderRun.zero("some", 1));
    byte[] wrong = stream.footer().toBytes();
    assertThat(ReaderRun.of(wrong).error()).isNull(); // in the tail by now
  }

  @Test
  void aLargeTailComesInPieces() {
    byte[] tail = new byte[100_000];
    byte[] bytes = StreamBytes.upToPart().eos().footer().end().eos().footer().bytes(tail).toBytes();
    List<Integer> pieces = new ArrayList<>();
    try (QemuStreamReader reader = new QemuStreamReader(ReaderRun.GEOMETRY)) {
      ByteBuffer in = ByteBuffer.wrap(bytes);
      QemuElement element;
      while ((element = reader.read(in)) != null) {
        if (element instanceof QemuElement.DeviceTail piece) {
          assertThat(piece.raw().isReadOnly()).isTrue();
          pieces.add(piece.raw().remaining());
        }
      }
    }
    assertThat(pieces).containsExactly(65536, 100_000 - 65536);
  }

  @Test
  void slabsThatWereNotUsedAreGivenBack() {
    try (SlabPool pool = new SlabPool(3, ReaderRun.GEOMETRY)) {
      QemuStreamReader reader = new QemuStreamReader(ReaderRun.GEOMETRY);
      reader.supply(Objects.requireNonNull(pool.tryAcquire()));
      assertThatThrownBy(() -> reader.supply(Objects.requireNonNull(pool.tryAcquire())))
          .isInstanceOf(IllegalStateException.class);
      assertThat(pool.outstanding()).isEqualTo(2); // the refused one stays the caller's
      reader.close();
      assertThat(pool.outstanding()).isEqualTo(1);
      reader.supply(Objects.requireNonNull(pool.tryAcquire()));
      assertThat(pool.outstanding()).isEqualTo(1);
      assertThatThrownBy(() -> reader.read(ByteBuffer.allocate(1)))
          .isInstanceOf(IllegalStateException.class);
    }
  }

  @Test
  void aSlabSuppliedAheadIsUsed() {
    byte[] bytes = StreamBytes.upToPart().zero("pc.ram", 1).eos().toBytes();
    try (SlabPool pool = new SlabPool(1, ReaderRun.GEOMETRY);
        QemuStreamReader reader = new QemuStreamReader(ReaderRun.GEOMETRY)) {
      reader.supply(Objects.requireNonNull(pool.tryAcquire()));
      ByteBuffer in = ByteBuffer.wrap(bytes);
      QemuElement element;
      int batches = 0;
      while ((element = reader.read(in)) != null) {
        batches += element instanceof QemuElement.Pages ? 1 : 0;
        element.release();
      }
      assertThat(reader.needsSlab()).isFalse();
      assertThat(batches).isEqualTo(1);
    }
  }

  @Test
  void pagesMustFitTheBatches() {
    assertThatThrownBy(() -> new QemuStreamReader(new BatchGeometry(1, 4096), 8192))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("cannot hold a page of 8192");
    assertThatThrownBy(() -> new QemuStreamReader(ReaderRun.GEOMETRY, 512))
        .isInstanceOf(IllegalArgumentException.class);
    StreamBytes large =
        new StreamBytes()
            .header()
            .configuration("x")
            .u8(5)
            .name("configuration/target-page-bits")
            .be32(1)
            .be32(16)
            .u8(1);
    assertThat(ReaderRun.of(large.toBytes()).failure())
        .hasMessageContaining("pages of 65536 bytes do not fit")
        .extracting(MigrationException::kind)
        .isEqualTo(MigrationException.Kind.PROTOCOL);
  }
}
