package io.pageflux.qemu.stream;

import static io.pageflux.qemu.stream.StreamBytes.PAGE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.GuestMemory;
import io.pageflux.transport.TransportBuffer;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;

/** A stream's RAM goes where it belongs, or nowhere. */
class QemuStreamLoaderTest {

  private static final String MACHINE = "pc-i440fx-7.2";

  /** Where the list of blocks is: behind the header, the configuration and the section's head. */
  private static final int LIST = 8 + 5 + MACHINE.length() + 17;

  private final AtomicInteger held = new AtomicInteger();

  @AfterEach
  void nothingIsLeft() {
    assertThat(held).hasValue(0);
  }

  private Flux<TransportBuffer> chunks(byte[] stream) {
    int chunk = 1000;
    return Flux.range(0, (stream.length + chunk - 1) / chunk)
        .map(
            i -> {
              held.incrementAndGet();
              return new TransportBuffer(
                  ByteBuffer.wrap(stream, i * chunk, Math.min(chunk, stream.length - i * chunk)),
                  held::decrementAndGet);
            });
  }

  private static byte[] stream() {
    return StreamBytes.upToPart()
        .raw("pc.ram", 3, StreamBytes.page(1))
        .rawContinued(15, StreamBytes.page(2))
        .raw("pc.bios", 1, StreamBytes.page(3))
        .raw("pc.bios", 0, StreamBytes.page(4))
        .zero("pc.bios", 0)
        .deltaContinued(1, new byte[] {0, 1, 9})
        .finish()
        .toBytes();
  }

  private QemuStreamLoader load(byte[] stream, GuestMemory memory, @Nullable String machine) {
    return Objects.requireNonNull(
        QemuStreams.load(chunks(stream), memory, machine).block(Duration.ofSeconds(30)));
  }

  private static byte[] page(GuestMemory memory, String block, int page) {
    return memory
        .block(block)
        .segment()
        .asSlice((long) page * PAGE, PAGE)
        .toArray(ValueLayout.JAVA_BYTE);
  }

  private static GuestMemory memory() {
    // In another order than the stream has it, with one more.
    return GuestMemory.builder()
        .anonymous("other", PAGE)
        .anonymous("pc.bios", 2 * PAGE)
        .anonymous("pc.ram", 16 * PAGE)
        .build();
  }

  @Test
  void blocksAreFoundByTheirNames() {
    try (GuestMemory memory = memory()) {
      QemuStreamLoader loaded = load(stream(), memory, MACHINE);
      assertThat(page(memory, "pc.ram", 3)).isEqualTo(StreamBytes.page(1));
      assertThat(page(memory, "pc.ram", 15)).isEqualTo(StreamBytes.page(2));
      assertThat(page(memory, "pc.ram", 0)).containsOnly(0);
      byte[] changed = StreamBytes.page(3);
      changed[0] = 9;
      assertThat(page(memory, "pc.bios", 1)).isEqualTo(changed);
      assertThat(page(memory, "pc.bios", 0)).containsOnly(0);
      assertThat(page(memory, "other", 0)).containsOnly(0);
      assertThat(loaded.machineType()).isEqualTo(MACHINE);
      assertThat(loaded.zeroPages()).isEqualTo(1);
      assertThat(loaded.wholePages()).isEqualTo(4);
      assertThat(loaded.deltaPages()).isEqualTo(1);
    }
  }

  private void assertRefused(
      byte[] stream, GuestMemory memory, @Nullable String machine, Kind kind, String... reasons) {
    try (memory) {
      assertThatThrownBy(() -> load(stream, memory, machine))
          .isInstanceOfSatisfying(
              MigrationException.class, e -> assertThat(e.kind()).isEqualTo(kind))
          .hasMessageContainingAll(reasons);
    }
  }

  @Test
  void anotherMachineIsRefused() {
    assertRefused(
        stream(), memory(), "pc-q35-7.2", Kind.LAYOUT, "byte 8 of", MACHINE, "pc-q35-7.2");
    // QEMU 7.2 compares no more than what has come.
    assertRefused(stream(), memory(), MACHINE + "0", Kind.LAYOUT, "byte 8 of", MACHINE + "0");
  }

  @Test
  void aStreamThatDoesNotSayItsMachineIsRefusedIfOneIsExpected() {
    byte[] stream = new StreamBytes().header().start().blocks().eos().footer().finish().toBytes();
    assertRefused(stream, memory(), MACHINE, Kind.LAYOUT, "byte 25 of", "does not say");
  }

  @Test
  void aBlockThatTheMemoryLacksIsRefused() {
    GuestMemory lacking = GuestMemory.builder().anonymous("pc.ram", 16 * PAGE).build();
    int second = LIST + 8 + 1 + "pc.ram".length() + 8;
    assertRefused(
        stream(), lacking, null, Kind.LAYOUT, "byte " + second + " of", "'pc.bios' of 8192 bytes");
  }

  @Test
  void aBlockOfAnotherSizeIsRefused() {
    GuestMemory smaller =
        GuestMemory.builder().anonymous("pc.ram", 15 * PAGE).anonymous("pc.bios", 2 * PAGE).build();
    assertRefused(
        stream(),
        smaller,
        null,
        Kind.LAYOUT,
        "byte " + (LIST + 8) + " of",
        "'pc.ram' has 65536 bytes, and 61440 in the memory");
  }

  @Test
  void pagesOfAnotherSizeAreRefused() {
    GuestMemory.Builder builder = GuestMemory.builder().anonymous("pc.bios", 2 * PAGE);
    GuestMemory mixed = builder.pageSize(1024).anonymous("pc.ram", 16 * PAGE).build();
    assertRefused(stream(), mixed, null, Kind.LAYOUT, "byte " + (LIST + 8) + " of", "4096", "1024");
  }

  @Test
  void aPageOutOfRangeIsRefused() {
    StreamBytes stream = StreamBytes.upToPart().raw("pc.ram", 0, StreamBytes.page(1));
    int at = stream.size();
    stream.zero("pc.ram", 16);
    assertRefused(
        stream.finish().toBytes(),
        memory(),
        null,
        Kind.PROTOCOL,
        "byte " + at + " of",
        "offset 0x10000 of RAM block 'pc.ram'");
  }

  @Test
  void aPageOfABlockThatWasNotListedIsRefused() {
    StreamBytes stream = StreamBytes.upToPart();
    int at = stream.size();
    stream.zero("other", 0);
    assertRefused(
        stream.finish().toBytes(),
        memory(),
        null,
        Kind.PROTOCOL,
        "byte " + (at + 8) + " of",
        "'other'");
  }

  @Test
  void aDamagedDeltaIsRefused() {
    StreamBytes stream =
        StreamBytes.upToPart().raw("pc.bios", 1, StreamBytes.page(3)).eos().footer();
    stream.part();
    int at = stream.size();
    stream.record(1, 0x40).name("pc.bios").u8(1).be16(1).bytes((byte) 1);
    assertRefused(
        stream.finish().toBytes(),
        memory(),
        null,
        Kind.INTEGRITY,
        "byte " + at + " of",
        "page 1 of block 'pc.bios'");
  }

  @Test
  void pagesOnOtherConnectionsAreRefused() {
    StreamBytes stream = StreamBytes.upToPart();
    int at = stream.size();
    stream.be64(0x200);
    assertRefused(
        stream.finish().toBytes(), memory(), null, Kind.PROTOCOL, "byte " + at + " of", "multifd");
  }
}
