package io.pageflux.qemu.stream;

import static io.pageflux.qemu.stream.StreamBytes.PAGE;
import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pageflux.codec.Xbzrle;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.qemu.testing.RequiresQemu;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import reactor.core.publisher.Flux;

/** A real QEMU loads what was written, and its memory is what was to be sent. */
@RequiresQemu
class WrittenForQemuTest {

  private static final int RAM_MIB = 32;
  private static final BatchGeometry GEOMETRY = new BatchGeometry(64, 256 << 10);

  @ParameterizedTest(name = "seed {0}, compression {1}")
  @CsvSource({"1, 0", "2, 0", "3, 0", "4, 6"})
  void qemuHoldsThePagesThatWereWritten(long seed, int compression) throws IOException {
    Random random = new Random(seed);
    try (GuestMemory memory =
            GuestMemory.builder().anonymous("pc.ram", (long) RAM_MIB << 20).build();
        SlabPool pool = new SlabPool(4, GEOMETRY);
        QemuProcess qemu = QemuSockets.incoming(QemuProcess.builder().ramMiB(RAM_MIB))) {
      if (compression > 0) {
        Map<String, Boolean> has =
            Objects.requireNonNull(qemu.commands().queryCapabilities().block(PATIENCE));
        assumeTrue(has.containsKey("compress"), "this QEMU has no compress (gone since 9.1)");
        qemu.commands().setCapability("compress", true).block(PATIENCE);
      }
      RamBlock ram = memory.block(0);
      fill(ram, random);
      Flux<PageBatch> all =
          Flux.range(0, (int) (ram.pageCount() / 64)).map(i -> TestPages.of(pool, ram, i * 64L));
      Flux<PageBatch> changes = Flux.range(0, 200).map(i -> change(pool, ram, random));
      QemuStreamSpec spec =
          new QemuStreamSpec(QemuSockets.machineType(qemu), QemuRamLayout.of(memory.layout()))
              .withCompression(compression)
              .withSectionBytes(1 << 20);
      QemuSockets.send(
          QemuSockets.listen(qemu), QemuStreams.write(spec, Flux.concat(all, changes)));
      qemu.commands().awaitMigration(PATIENCE).block(PATIENCE);
      assertThat(pool.outstanding()).isZero();
      compare(qemu, ram, seed);
    }
  }

  static void compare(QemuProcess qemu, RamBlock ram, long seed) {
    byte[] low = qemu.pmemsave(0, QemuSockets.LOW_END);
    int highBytes = (int) ram.segment().byteSize() - QemuSockets.HIGH_START;
    byte[] high = qemu.pmemsave(QemuSockets.HIGH_START, highBytes);
    assertThat(ram.segment().asSlice(0, low.length).mismatch(MemorySegment.ofArray(low)))
        .as("seed %d: first difference below the VGA", seed)
        .isEqualTo(-1);
    assertThat(
            ram.segment()
                .asSlice(QemuSockets.HIGH_START, highBytes)
                .mismatch(MemorySegment.ofArray(high)))
        .as("seed %d: first difference above 1 MiB", seed)
        .isEqualTo(-1);
  }

  /** Zero, noise, text and counters, in runs of pages. */
  private static void fill(RamBlock ram, Random random) {
    byte[] page = new byte[PAGE];
    for (int p = 0; p < ram.pageCount(); ) {
      int kind = random.nextInt(4);
      for (int end = Math.min((int) ram.pageCount(), p + 1 + random.nextInt(64)); p < end; p++) {
        switch (kind) {
          case 0 -> Arrays.fill(page, (byte) 0);
          case 1 -> random.nextBytes(page);
          case 2 -> Arrays.fill(page, (byte) ('a' + random.nextInt(26)));
          default -> {
            for (int i = 0; i < PAGE; i++) {
              page[i] = (byte) (i % 8 == 0 ? p : 0);
            }
          }
        }
        MemorySegment.copy(MemorySegment.ofArray(page), 0, ram.segment(), ram.pageOffset(p), PAGE);
      }
    }
  }

  /** Changes some pages of the memory, and makes a batch of how: deltas, raw and zero pages. */
  private static PageBatch change(SlabPool pool, RamBlock ram, Random random) {
    PageBatch batch = TestPages.empty(pool, 0, ram.layout());
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment old = arena.allocate(PAGE);
      MemorySegment encoded = arena.allocate(PAGE);
      for (long p = random.nextInt(500);
          p < ram.pageCount() && batch.hasRoom();
          p += 1 + random.nextInt(500)) {
        MemorySegment page = ram.segment().asSlice(ram.pageOffset(p), PAGE);
        old.copyFrom(page);
        int writes = random.nextInt(40);
        if (writes == 0) {
          page.fill((byte) 0);
          batch.append(p, PageKind.ZERO, 0);
          continue;
        }
        for (int i = 0; i < writes; i++) {
          page.set(JAVA_BYTE, random.nextInt(PAGE), (byte) random.nextInt());
        }
        int length = Xbzrle.encode(old, 0, page, 0, PAGE, encoded, 0, PAGE);
        boolean delta = length > 0 && random.nextInt(4) > 0;
        TestPages.append(
            batch,
            p,
            delta ? PageKind.DELTA : PageKind.RAW,
            (delta ? encoded.asSlice(0, length) : page).toArray(JAVA_BYTE));
      }
    }
    return batch;
  }
}
