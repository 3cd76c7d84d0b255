package io.pageflux.wire;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The example stream of {@code WIRE-FORMAT.md}, and that document. */
final class GoldenStream {

  static final BatchGeometry GEOMETRY = new BatchGeometry(8, 4096);

  static final RamLayout LAYOUT = new RamLayout(List.of(new RamBlockLayout("ram", 32768, 512)));

  /** 512 times the letter A as one zstd frame. */
  static final byte[] FRAME = HexFormat.of().parseHex("28b52ffd6000014d00001041410100fb2ac002");

  private GoldenStream() {}

  /** Writes the stream. */
  static Streams.Builder written(SlabPool pool) {
    Streams.Builder stream = new Streams.Builder();
    stream.add(
        new WireRecord.Hello(
            1,
            1,
            Feature.migration(),
            Feature.ZSTD.mask(),
            UUID.fromString("00112233-4455-6677-8899-aabbccddeeff"),
            0,
            1,
            "pageflux 0.1"));
    stream.add(new WireRecord.Layout(LAYOUT, GEOMETRY)).add(new WireRecord.Ready());
    stream.add(new WireRecord.RoundBegin(1, true, 4));
    PageBatch plain = batch(pool);
    plain.append(0, PageKind.ZERO, 0);
    plain.append(1, PageKind.ZERO, 0);
    plain.append(2, PageKind.DELTA, 5);
    plain.stored().copyFrom(MemorySegment.ofArray(new byte[] {16, 3, 'x', 'y', 'z'}));
    stream.add(new WireRecord.Pages(plain));
    PageBatch compressed = batch(pool);
    compressed.append(3, PageKind.RAW, 512);
    compressed.markCompressed(FRAME.length);
    compressed.stored().copyFrom(MemorySegment.ofArray(FRAME));
    stream.add(new WireRecord.Pages(compressed));
    stream.add(new WireRecord.RoundEnd(1, 2, 1, 1)).add(new WireRecord.RoundAck(1, 4));
    stream.add(new WireRecord.Progress(512, 4));
    stream.add(new WireRecord.DeviceState(new byte[] {(byte) 0xde, (byte) 0xad}));
    stream.add(new WireRecord.End(4, 2)).add(new WireRecord.Prepared(4));
    stream.add(new WireRecord.Commit()).add(new WireRecord.Running());
    stream.add(new WireRecord.Failure(MigrationException.Kind.TIMEOUT, "späte Antwort"));
    stream.add(new WireRecord.KeepAlive());
    stream.add(new WireRecord.Stream(new byte[] {(byte) 0xbe, (byte) 0xef}));
    stream.add(new WireRecord.StreamEnd());
    stream.add(
        new WireRecord.Offer(
            UUID.fromString("01234567-89ab-cdef-0123-456789abcdef"),
            1234,
            List.of(
                new WireRecord.Offer.Block(
                    0, 7, UUID.fromString("fedcba98-7654-3210-fedc-ba9876543210")))));
    stream.add(new WireRecord.ResumePoint(2, false, 0, 5));
    byte[] hash = HexFormat.of().parseHex("000102030405060708090a0b0c0d0e0f");
    return stream.add(new WireRecord.PageHashes(0, 3, hash));
  }

  private static PageBatch batch(SlabPool pool) {
    Lease lease = Objects.requireNonNull(pool.tryAcquire());
    return new PageBatch(0, LAYOUT.blocks().get(0), lease, GEOMETRY.headroomBytes(), GEOMETRY);
  }

  /** The document. */
  static String document() throws IOException {
    Path root = Path.of(System.getProperty("pageflux.root", ".."));
    return Files.readString(root.resolve("reactive-core/WIRE-FORMAT.md"));
  }

  /** The text between the fences of a code block of the document. */
  static String codeBlock(String language) throws IOException {
    Matcher block =
        Pattern.compile("```" + language + "\n(.*?)```", Pattern.DOTALL).matcher(document());
    assertThat(block.find()).as("a block ```" + language).isTrue();
    return block.group(1);
  }
}
