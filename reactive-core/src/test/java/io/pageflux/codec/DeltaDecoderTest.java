package io.pageflux.codec;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class DeltaDecoderTest {

  private static final int PAGE = 4096;

  private final GuestMemory memory = GuestMemory.builder().anonymous("ram", 64 * PAGE).build();
  private final RamBlock ram = memory.block(0);
  private final Batches batches = new Batches(new BatchGeometry(16, 8 * PAGE));
  private final DeltaDecoder decoder = new DeltaDecoder();

  @AfterEach
  void close() {
    batches.close();
    memory.close();
  }

  @Test
  void everyMixOfKindsBecomesThePagesThatWereMeant() {
    for (int seed = 0; seed < 500; seed++) {
      Random random = new Random(seed);
      Bytes.randomize(ram.segment(), random);
      PageBatch batch = batches.empty(ram);
      List<MemorySegment> expected = new ArrayList<>();
      int contents = 0;
      for (long page = 0; page < 16; page++) {
        PageKind kind = contents == 8 ? PageKind.ZERO : PageKind.ofCode(random.nextInt(3));
        contents += kind == PageKind.ZERO ? 0 : 1;
        MemorySegment is = Bytes.copyOf(Batches.page(ram, page));
        MemorySegment delta = Bytes.zeros(PAGE);
        Mutation.values()[1 + random.nextInt(4)].apply(is, random);
        int length =
            Xbzrle.encode(ram.segment(), ram.pageOffset(page), is, 0, PAGE, delta, 0, PAGE - 1);
        if (kind == PageKind.DELTA && length > 0) {
          Batches.append(batch, page, kind, delta.asSlice(0, length));
        } else if (kind == PageKind.ZERO) {
          batch.append(page, kind, 0);
          is = Bytes.zeros(PAGE).asSlice(0, 0);
        } else {
          Batches.append(batch, page, PageKind.RAW, is);
        }
        expected.add(is);
      }
      decoder.expand(batch, memory);
      assertThat(batch.count(PageKind.DELTA)).isZero();
      for (int i = 0; i < 16; i++) {
        assertThat(Batches.contents(batch, i).mismatch(expected.get(i)))
            .as("seed %d, page %d", seed, i)
            .isEqualTo(-1);
      }
      batch.release();
    }
    assertThat(decoder.deltaPages()).isPositive();
  }

  @Test
  void rawPagesThatDoNotFitTheBatchAreRefusedAndTheBatchStays() {
    PageBatch batch = batches.empty(ram);
    for (long page = 0; page < 9; page++) {
      Batches.append(batch, page, PageKind.DELTA, Bytes.of(new byte[] {0, 1, 2}));
    }
    assertRefused(batch, MigrationException.Kind.INTEGRITY, "36864 bytes");
  }

  @Test
  void aBrokenDeltaIsRefusedAndTheBatchStays() {
    PageBatch batch = batches.empty(ram);
    Batches.append(batch, 3, PageKind.DELTA, Bytes.of(new byte[] {0, 1}));
    Batches.append(batch, 4, PageKind.DELTA, Bytes.of(new byte[] {0, 1, 2}));
    assertRefused(batch, MigrationException.Kind.INTEGRITY, "page 3 of block 'ram'");
  }

  @Test
  void aBatchForAnotherLayoutIsRefused() {
    PageBatch noBlock = batches.empty(1, ram.layout());
    Batches.append(noBlock, 0, PageKind.DELTA, Bytes.of(new byte[] {0, 1, 2}));
    assertRefused(noBlock, MigrationException.Kind.LAYOUT, "block 1");
    PageBatch otherShape = batches.empty(0, new RamBlockLayout("ram", 128 * PAGE, PAGE));
    Batches.append(otherShape, 100, PageKind.DELTA, Bytes.of(new byte[] {0, 1, 2}));
    assertRefused(otherShape, MigrationException.Kind.LAYOUT, "524288 bytes");
  }

  private void assertRefused(PageBatch batch, MigrationException.Kind kind, String what) {
    byte[] before = Bytes.array(batch.stored());
    List<PageBatch.Page> pages = batch.pages();
    assertThatThrownBy(() -> decoder.expand(batch, memory))
        .isInstanceOfSatisfying(MigrationException.class, e -> assertThat(e.kind()).isEqualTo(kind))
        .hasMessageContaining(what);
    assertThat(batch.pages()).isEqualTo(pages);
    assertThat(Bytes.array(batch.stored())).isEqualTo(before);
  }
}
