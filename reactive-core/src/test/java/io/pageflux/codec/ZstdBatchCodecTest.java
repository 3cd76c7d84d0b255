package io.pageflux.codec;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.github.luben.zstd.Zstd;
import io.pageflux.MigrationException;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import java.lang.foreign.MemorySegment;
import java.util.Objects;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ZstdBatchCodecTest {

  private static final int PAGE = 4096;
  private static final RamBlockLayout RAM = new RamBlockLayout("ram", 1 << 20, PAGE);

  private final Batches batches = new Batches(BatchGeometry.DEFAULT);
  private final ZstdBatchCompressor compressor = new ZstdBatchCompressor(1);
  private final ZstdBatchDecompressor decompressor = new ZstdBatchDecompressor();

  @AfterEach
  void close() {
    compressor.close();
    decompressor.close();
    batches.close();
  }

  /** Raw pages of which a share of the bytes is random. */
  private PageBatch batch(int pages, double randomShare, Random random) {
    PageBatch batch = batches.empty(0, RAM);
    for (long page = 0; page < pages; page++) {
      MemorySegment contents = Bytes.zeros(PAGE);
      for (int i = 0; i < PAGE; i++) {
        Bytes.set(contents, i, random.nextDouble() < randomShare ? random.nextInt() : i / 9);
      }
      Batches.append(batch, page, PageKind.RAW, contents);
    }
    return batch;
  }

  @ParameterizedTest
  @ValueSource(ints = {-50, -5, 0, 1, 3, 22})
  void whatWasCompressedComesBackAtEveryLevel(int level) {
    try (ZstdBatchCompressor leveled = new ZstdBatchCompressor(level)) {
      for (int pages : new int[] {1, 2, 64, 7}) {
        PageBatch batch = batch(pages, 0.01, new Random(pages));
        byte[] before = Bytes.array(batch.stored());
        leveled.compress(batch);
        assertThat(batch.isCompressed()).isTrue();
        assertThat(batch.storedBytes()).isLessThan(before.length - before.length / 16);
        assertThat(batch.payloadBytes()).isEqualTo(before.length);
        leveled.compress(batch); // Once is enough.
        decompressor.decompress(batch);
        assertThat(batch.isCompressed()).isFalse();
        assertThat(Bytes.array(batch.stored())).isEqualTo(before);
        decompressor.decompress(batch);
        batch.release();
      }
    }
  }

  @Test
  void aBatchMayBeDecompressedIntoAnotherSlab() {
    PageBatch batch = batch(64, 0.01, new Random(8));
    byte[] before = Bytes.array(batch.stored());
    compressor.compress(batch);
    Lease first = batch.lease();
    Lease into = slab();
    decompressor.decompress(batch, into);
    assertThat(batch.isCompressed()).isFalse();
    assertThat(batch.lease()).isSameAs(into);
    assertThat(first.isReleased()).isTrue();
    assertThat(Bytes.array(batch.stored())).isEqualTo(before);
    batch.release();
    assertThat(into.isReleased()).isTrue();
    assertThat(batches.pool.outstanding()).isZero();
  }

  @Test
  void aSlabThatIsTooSmallOrNotNeededStaysTheCallers() {
    PageBatch batch = batch(64, 0.01, new Random(9));
    Lease needless = slab();
    assertThatThrownBy(() -> decompressor.decompress(batch, needless))
        .isInstanceOf(IllegalStateException.class);
    compressor.compress(batch);
    try (Batches small = new Batches(new BatchGeometry(4, 4 * PAGE))) {
      Lease tooSmall = Objects.requireNonNull(small.pool.tryAcquire());
      assertThatThrownBy(() -> decompressor.decompress(batch, tooSmall))
          .isInstanceOf(IllegalArgumentException.class);
      assertThat(tooSmall.isReleased()).isFalse();
    }
    assertThat(needless.isReleased()).isFalse();
    assertThat(batch.isCompressed()).isTrue();
    decompressor.decompress(batch);
  }

  private Lease slab() {
    return Objects.requireNonNull(batches.pool.tryAcquire());
  }

  @Test
  void theLevelMayChangeBetweenBatches() {
    int[] stored = new int[3];
    int[] levels = {1, 9, 1};
    for (int i = 0; i < levels.length; i++) {
      compressor.setLevel(levels[i]);
      assertThat(compressor.level()).isEqualTo(levels[i]);
      PageBatch batch = batch(16, 0.1, new Random(3));
      byte[] before = Bytes.array(batch.stored());
      compressor.compress(batch);
      stored[i] = batch.storedBytes();
      decompressor.decompress(batch);
      assertThat(Bytes.array(batch.stored())).isEqualTo(before);
      batch.release();
    }
    assertThat(stored[1]).isLessThan(stored[0]);
    assertThat(stored[2]).isEqualTo(stored[0]);
    assertThatThrownBy(() -> compressor.setLevel(99)).isInstanceOf(IllegalArgumentException.class);
    assertThat(compressor.level()).isEqualTo(1);
  }

  @Test
  void contentsThatSaveTooLittleStayAsTheyAre() {
    PageBatch random = batch(8, 1, new Random(1));
    byte[] before = Bytes.array(random.stored());
    compressor.compress(random);
    assertThat(random.isCompressed()).isFalse();
    assertThat(Bytes.array(random.stored())).isEqualTo(before);
  }

  @Test
  void smallAndEmptyContentsStayAsTheyAre() {
    PageBatch zeros = batches.empty(0, RAM);
    zeros.append(0, PageKind.ZERO, 0);
    compressor.compress(zeros);
    assertThat(zeros.isCompressed()).isFalse();
    decompressor.decompress(zeros);
    PageBatch delta = batches.empty(0, RAM);
    Batches.append(delta, 0, PageKind.DELTA, Bytes.zeros(255));
    compressor.compress(delta);
    assertThat(delta.isCompressed()).isFalse();
    Batches.append(delta, 1, PageKind.DELTA, Bytes.zeros(1));
    compressor.compress(delta);
    assertThat(delta.isCompressed()).isTrue();
  }

  @Test
  void levelsThatZstdDoesNotHaveAreRefused() {
    assertThat(ZstdBatchCompressor.requireLevel(Zstd.maxCompressionLevel())).isEqualTo(22);
    assertThat(ZstdBatchCompressor.requireLevel(Zstd.minCompressionLevel())).isEqualTo(-131072);
    assertThatThrownBy(() -> new ZstdBatchCompressor(Zstd.maxCompressionLevel() + 1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("23");
    assertThatThrownBy(() -> new ZstdBatchCompressor(Zstd.minCompressionLevel() - 1))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void aFrameThatHoldsMoreOrLessThanItsPagesIsRefused() {
    PageBatch batch = batch(4, 0.01, new Random(2));
    compressor.compress(batch);
    for (int pages : new int[] {3, 5}) {
      PageBatch lying = batches.empty(0, RAM);
      for (long page = 0; page < pages; page++) {
        lying.append(page, PageKind.RAW, PAGE);
      }
      MemorySegment.copy(
          batch.slab(),
          batch.payloadOffset(),
          lying.slab(),
          lying.payloadOffset(),
          batch.storedBytes());
      lying.markCompressed(batch.storedBytes());
      assertRefused(lying);
      lying.release();
    }
  }

  @Test
  void aCompressedBatchWithoutContentsIsRefused() {
    PageBatch batch = batches.empty(0, RAM);
    batch.append(0, PageKind.ZERO, 0);
    batch.markCompressed(9);
    assertRefused(batch);
  }

  @Test
  void everyTruncationIsRefusedAndDamageIsRefusedOrStaysInBounds() {
    for (int seed = 0; seed < 20; seed++) {
      Random random = new Random(seed);
      PageBatch batch = batch(2, 0.02, random);
      compressor.compress(batch);
      byte[] frame = Bytes.array(batch.stored());
      batch.release();
      for (int i = 0; i < 100; i++) {
        byte[] truncated = java.util.Arrays.copyOf(frame, 1 + random.nextInt(frame.length - 1));
        PageBatch cut = received(truncated);
        assertRefused(cut);
        cut.release();
        byte[] damaged = frame.clone();
        damaged[random.nextInt(frame.length)] ^= (byte) (1 + random.nextInt(255));
        PageBatch flipped = received(damaged);
        byte[] around = surroundings(flipped);
        assertStaysInBounds(damaged);
        try {
          decompressor.decompress(flipped);
          assertThat(flipped.storedBytes()).isEqualTo(2 * PAGE);
        } catch (MigrationException e) {
          assertThat(e.kind()).isEqualTo(MigrationException.Kind.INTEGRITY);
          assertThat(flipped.isCompressed()).as("seed %d", seed).isTrue();
        }
        assertThat(surroundings(flipped)).as("seed %d", seed).isEqualTo(around);
        flipped.release();
      }
    }
  }

  /** Whatever becomes of a frame in another slab, it is not what lies around it. */
  private void assertStaysInBounds(byte[] frame) {
    PageBatch batch = received(frame);
    Lease into = slab();
    into.segment().fill((byte) 0x5a);
    byte[] around = surroundings(batch, into);
    try {
      decompressor.decompress(batch, into);
      assertThat(batch.lease()).isSameAs(into);
    } catch (MigrationException e) {
      assertThat(e.kind()).isEqualTo(MigrationException.Kind.INTEGRITY);
      assertThat(batch.lease()).isNotSameAs(into);
      assertThat(batch.isCompressed()).isTrue();
    }
    assertThat(surroundings(batch, into)).isEqualTo(around);
    batch.release();
    into.release();
  }

  private PageBatch received(byte[] frame) {
    PageBatch batch = batches.empty(0, RAM);
    batch.append(0, PageKind.RAW, PAGE);
    batch.append(1, PageKind.RAW, PAGE);
    MemorySegment.copy(Bytes.of(frame), 0, batch.slab(), batch.payloadOffset(), frame.length);
    batch.markCompressed(frame.length);
    return batch;
  }

  private static byte[] surroundings(PageBatch batch) {
    return surroundings(batch, batch.lease());
  }

  private static byte[] surroundings(PageBatch batch, Lease slab) {
    byte[] all = Bytes.array(slab.segment());
    java.util.Arrays.fill(
        all, batch.payloadOffset(), batch.payloadOffset() + batch.payloadBytes(), (byte) 0);
    return all;
  }

  private void assertRefused(PageBatch batch) {
    byte[] before = Bytes.array(batch.stored());
    assertThatThrownBy(() -> decompressor.decompress(batch))
        .isInstanceOfSatisfying(
            MigrationException.class,
            e -> assertThat(e.kind()).isEqualTo(MigrationException.Kind.INTEGRITY));
    assertThat(batch.isCompressed()).isTrue();
    assertThat(Bytes.array(batch.stored())).isEqualTo(before);
  }

  @Test
  void aBatchOfALargerGeometryGrowsTheScratch() {
    PageBatch small = batch(1, 0.01, new Random(3));
    compressor.compress(small);
    decompressor.decompress(small);
    RamBlockLayout huge = new RamBlockLayout("huge", 4 << 20, 2 << 20);
    try (Batches large = new Batches(BatchGeometry.forPageSize(2 << 20))) {
      PageBatch batch = large.empty(0, huge);
      MemorySegment contents = Bytes.zeros(2 << 20);
      Bytes.randomize(contents.asSlice(0, 1 << 20), new Random(4));
      Batches.append(batch, 1, PageKind.RAW, contents);
      compressor.compress(batch);
      assertThat(batch.isCompressed()).isTrue();
      decompressor.decompress(batch);
      assertThat(Batches.contents(batch, 0).mismatch(contents)).isEqualTo(-1);
    }
  }

  @Test
  void aClosedCodecIsOfNoUse() {
    PageBatch batch = batch(2, 0.01, new Random(5));
    compressor.compress(batch);
    compressor.close();
    compressor.close();
    decompressor.close();
    decompressor.close();
    assertThatThrownBy(() -> decompressor.decompress(batch))
        .isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> decompressor.decompress(batch, slab()))
        .isInstanceOf(IllegalStateException.class);
    PageBatch plain = batch(2, 0.01, new Random(6));
    assertThatThrownBy(() -> compressor.compress(plain)).isInstanceOf(IllegalStateException.class);
  }

  @Test
  void memoryThatWasFreedIsAnErrorAndNoCrash() {
    PageBatch batch = batch(2, 0.01, new Random(7));
    PageBatch compressed = batch(2, 0.01, new Random(7));
    compressor.compress(compressed);
    Lease into = slab();
    batches.close();
    assertThatThrownBy(() -> compressor.compress(batch))
        .isInstanceOfAny(MigrationException.class, IllegalStateException.class);
    assertThatThrownBy(() -> decompressor.decompress(compressed, into))
        .isInstanceOf(IllegalStateException.class);
  }
}
