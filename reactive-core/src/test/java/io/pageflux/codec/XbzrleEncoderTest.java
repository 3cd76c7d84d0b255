package io.pageflux.codec;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class XbzrleEncoderTest {

  private static final int PAGE = 4096;

  private final GuestMemory source =
      GuestMemory.builder()
          .anonymous("ram", 32 * PAGE)
          .pageSize(16 << 10)
          .anonymous("large", 64 << 10)
          .build();
  private final RamBlock ram = source.block("ram");
  private final Batches batches = new Batches(BatchGeometry.DEFAULT);

  /** Every migration after the first has the memory of the one before. */
  private final XbzrleCaches caches = new XbzrleCaches();

  private final XbzrleEncoder encoder =
      new XbzrleEncoder(source.layout(), XbzrleSpec.DEFAULT.withCacheBytes(16 * PAGE));

  @AfterEach
  void close() {
    encoder.close();
    caches.close();
    batches.close();
    source.close();
  }

  private PageBatch encode(PageBatch batch) {
    encoder.encode(batch);
    return batch;
  }

  private void sendFirstRound(long... pages) {
    encoder.beginRound(1, true, false);
    encode(batches.raw(ram, pages)).release();
  }

  @Test
  void theFirstRoundIsSentAsItIsAndRememberedWithoutMisses() {
    Bytes.set(ram.segment(), 0, 1);
    encoder.beginRound(1, true, false);
    PageBatch first = encode(batches.raw(ram, 0, 1));
    assertThat(first.count(PageKind.RAW)).isEqualTo(2);
    first.release();
    encoder.beginRound(2, false, false);
    Bytes.set(ram.segment(), 5, 9);
    PageBatch second = encode(batches.raw(ram, 0));
    assertThat(second.kind(0)).isEqualTo(PageKind.DELTA);
    assertThat(Bytes.array(Batches.contents(second, 0))).containsExactly(5, 1, 9);
    XbzrleCounters counters = encoder.counters();
    assertThat(counters.cacheMiss()).isZero();
    assertThat(counters.pages()).isEqualTo(1);
    assertThat(counters.bytes()).isEqualTo(3 + 3);
    assertThat(counters.cacheSizeBytes()).isEqualTo(16 * PAGE);
  }

  @Test
  void theFirstRoundIsNotRememberedIfTheSpecSaysSo() {
    XbzrleSpec spec = XbzrleSpec.DEFAULT.withCacheBytes(16 * PAGE).withFillInFirstRound(false);
    try (XbzrleEncoder likeQemu = new XbzrleEncoder(source.layout(), spec)) {
      likeQemu.beginRound(1, true, false);
      PageBatch batch = batches.raw(ram, 0);
      likeQemu.encode(batch);
      likeQemu.beginRound(2, false, false);
      likeQemu.encode(batch);
      assertThat(batch.kind(0)).isEqualTo(PageKind.RAW);
      assertThat(likeQemu.counters().cacheMiss()).isEqualTo(1);
      likeQemu.encode(batch);
      assertThat(batch.isEmpty()).isTrue();
    }
  }

  @Test
  void aPageThatIsAsItWasSentIsDroppedAndCounted() {
    sendFirstRound(0, 1, 2);
    encoder.beginRound(2, false, false);
    Bytes.set(ram.segment(), PAGE, 1);
    PageBatch batch = encode(batches.raw(ram, 0, 1, 2));
    assertThat(batch.size()).isEqualTo(1);
    assertThat(batch.page(0)).isEqualTo(1);
    assertThat(encoder.counters().pages()).isEqualTo(3);
    assertThat(encoder.counters().bytes()).isEqualTo(3 + 3);
  }

  @Test
  void aPageThatChangedTooMuchIsSentRawAndRememberedAsSent() {
    sendFirstRound(0);
    encoder.beginRound(2, false, false);
    Batches.page(ram, 0).asSlice(0, encoder.largestDeltaBytes()).fill((byte) 7);
    PageBatch raw = encode(batches.raw(ram, 0));
    assertThat(raw.kind(0)).isEqualTo(PageKind.RAW);
    assertThat(encoder.counters().overflow()).isEqualTo(1);
    assertThat(encoder.counters().bytes()).isEqualTo(PAGE);
    encoder.encode(raw);
    assertThat(raw.isEmpty()).isTrue();
  }

  @Test
  void whatIsComparedWithIsWhatWasSentAndNotWhatMemoryHolds() {
    sendFirstRound(0);
    encoder.beginRound(2, false, false);
    Bytes.set(ram.segment(), 3, 1);
    PageBatch sent = batches.raw(ram, 0);
    Bytes.set(ram.segment(), 3, 2); // The guest writes between copy and encoding.
    encode(sent).release();
    encoder.beginRound(3, false, false);
    Bytes.set(ram.segment(), 3, 1); // Back to what was sent: there is nothing to send.
    assertThat(encode(batches.raw(ram, 0)).isEmpty()).isTrue();
  }

  @Test
  void aBatchIsTriedOutAsItWouldBeSentAndNothingIsRememberedOrCounted() {
    sendFirstRound(0, 1, 2, 3, 17); // The cache has a slot for 1 and 17, and 1 has it.
    Bytes.set(ram.segment(), 5, 9);
    Batches.page(ram, 2).fill((byte) 7);
    Bytes.set(ram.segment(), 17 * PAGE, 3);
    for (int i = 0; i < 2; i++) {
      PageBatch tried = batches.raw(ram, 0, 1, 2, 17);
      encoder.tryOut(tried);
      assertThat(tried.size()).as("one is as it was").isEqualTo(3);
      assertThat(tried.kind(0)).isEqualTo(PageKind.DELTA);
      assertThat(Bytes.array(Batches.contents(tried, 0))).containsExactly(5, 1, 9);
      assertThat(tried.kind(1)).as("changed too much").isEqualTo(PageKind.RAW);
      assertThat(tried.kind(2)).as("not in the cache").isEqualTo(PageKind.RAW);
      tried.release();
      PageBatch others = batches.raw(ram, 3, 5);
      encoder.tryOut(others);
      assertThat(others.size()).isEqualTo(1);
      assertThat(others.kind(0)).as("nobody has its slot").isEqualTo(PageKind.RAW);
      others.release();
    }
    assertThat(encoder.counters().pages()).isZero();
    encoder.beginRound(2, false, false);
    PageBatch sent = encode(batches.raw(ram, 0, 1, 2, 17));
    assertThat(sent.size()).isEqualTo(3);
    assertThat(Bytes.array(Batches.contents(sent, 0))).containsExactly(5, 1, 9);
    assertThat(encoder.counters().cacheMiss()).isEqualTo(1);
    assertThat(encoder.counters().overflow()).isEqualTo(1);
    encoder.beginRound(3, false, false);
    encode(batches.raw(ram, 19)).release();
    assertThat(encode(batches.raw(ram, 19)).isEmpty()).as("the slot of 3 was old").isTrue();
  }

  @Test
  void afterAZeroPageTheNextDeltaStartsFromZeros() {
    Batches.page(ram, 0).fill((byte) 7);
    sendFirstRound(0);
    encoder.beginRound(2, false, false);
    Batches.page(ram, 0).fill((byte) 0);
    encode(batches.of(ram, 0, 1)).release();
    encoder.beginRound(3, false, false);
    Bytes.set(ram.segment(), 0, 9);
    Bytes.set(ram.segment(), PAGE, 8);
    PageBatch batch = encode(batches.raw(ram, 0, 1));
    assertThat(batch.count(PageKind.DELTA)).isEqualTo(2); // A zero page is put in, too.
    assertThat(Bytes.array(Batches.contents(batch, 0))).containsExactly(0, 1, 9);
    assertThat(Bytes.array(Batches.contents(batch, 1))).containsExactly(0, 1, 8);
    assertThat(encoder.counters().cacheMiss()).isZero();
  }

  @Test
  void zeroPagesOfTheFirstRoundTakeNoSlots() {
    encoder.beginRound(1, true, false);
    encode(batches.of(ram, 0)).release();
    Bytes.set(ram.segment(), 16 * PAGE, 1); // Has the same slot as page 0.
    encode(batches.of(ram, 16)).release();
    encoder.beginRound(2, false, false);
    assertThat(encode(batches.of(ram, 16)).isEmpty()).isTrue();
  }

  @Test
  void aSlotThatIsInUseIsNotTakenAndTheOtherPageIsSentRaw() {
    Batches.page(ram, 0).fill((byte) 1);
    Batches.page(ram, 16).fill((byte) 2);
    sendFirstRound(0);
    encoder.beginRound(2, false, false);
    PageBatch batch = encode(batches.raw(ram, 16));
    assertThat(batch.kind(0)).isEqualTo(PageKind.RAW);
    encode(batch);
    assertThat(batch.kind(0)).isEqualTo(PageKind.RAW);
    assertThat(encoder.counters().cacheMiss()).isEqualTo(2);
    encoder.beginRound(3, false, false);
    encode(batch); // Now page 0 is old enough.
    assertThat(batch.size()).isEqualTo(1);
    encode(batch);
    assertThat(batch.isEmpty()).isTrue();
  }

  @Test
  void theLastStageRemembersNothingAndIsForgottenAfterwards() {
    sendFirstRound(0);
    encoder.beginRound(2, false, true);
    Bytes.set(ram.segment(), 0, 1);
    PageBatch batch = encode(batches.raw(ram, 0, 1));
    assertThat(batch.kind(0)).isEqualTo(PageKind.DELTA);
    assertThat(batch.kind(1)).isEqualTo(PageKind.RAW);
    assertThat(encoder.counters().cacheMiss()).isEqualTo(1);
    batch.release();
    // The switch-over failed and the guest goes on: page 0 must not be compared with round 1.
    encoder.beginRound(3, false, false);
    PageBatch next = encode(batches.raw(ram, 0));
    assertThat(next.kind(0)).isEqualTo(PageKind.RAW);
  }

  @Test
  void aSecondBulkRoundStartsAnew() {
    sendFirstRound(0);
    Bytes.set(ram.segment(), 0, 1);
    encoder.beginRound(2, true, false);
    encoder.beginRound(3, false, false);
    assertThat(encode(batches.raw(ram, 0)).kind(0)).isEqualTo(PageKind.RAW);
  }

  @Test
  void pagesOfAnotherSizePassAsTheyAreAndCountNothing() {
    encoder.beginRound(2, false, false);
    RamBlock large = source.block("large");
    PageBatch batch = encode(batches.raw(large, 0, 1));
    encode(batch);
    assertThat(batch.count(PageKind.RAW)).isEqualTo(2);
    assertThat(encoder.counters().cacheMiss()).isZero();
    assertThat(encoder.pageSizeBytes()).isEqualTo(PAGE);
  }

  @Test
  void aGuestWithLargePagesOnlyNeedsNoCache() {
    try (GuestMemory memory =
            GuestMemory.builder().pageSize(64 << 10).anonymous("huge", 1 << 20).build();
        XbzrleEncoder none = new XbzrleEncoder(memory.layout(), XbzrleSpec.DEFAULT)) {
      none.beginRound(2, false, false);
      PageBatch batch = batches.raw(memory.block(0), 0);
      none.encode(batch);
      assertThat(batch.kind(0)).isEqualTo(PageKind.RAW);
      assertThat(none.pageSizeBytes()).isZero();
      assertThat(none.counters().cacheSizeBytes()).isZero();
    }
  }

  @Test
  void ratesAreThoseOfTheLastPeriod() {
    sendFirstRound(0, 1, 2, 3);
    encoder.beginRound(2, false, false);
    Bytes.set(ram.segment(), 0, 1); // a delta of 3 bytes
    Batches.page(ram, 1).fill((byte) 1); // an overflow
    encode(batches.raw(ram, 0, 1, 2, 4, 5)).release();
    encoder.endPeriod(10);
    XbzrleCounters counters = encoder.counters();
    assertThat(counters.cacheMissRate()).isEqualTo(2.0 / 10);
    assertThat(counters.encodingRate()).isCloseTo(3.0 * PAGE / (PAGE + 6), within(1e-9));
    encoder.endPeriod(0);
    assertThat(encoder.counters()).isEqualTo(counters);
    encoder.endPeriod(5);
    assertThat(encoder.counters().cacheMissRate()).isZero();
    assertThat(encoder.counters().encodingRate()).isZero();
    assertThat(encoder.counters().cacheMiss()).isEqualTo(2);
  }

  @Test
  void whatCannotBeEncodedIsRefused() {
    PageBatch batch = batches.raw(ram, 0);
    assertThatThrownBy(() -> encoder.encode(batch)).isInstanceOf(IllegalStateException.class);
    sendFirstRound(0);
    encoder.beginRound(2, false, false);
    Bytes.set(batch.slab(), batch.payloadOffset(), 1);
    encoder.encode(batch);
    assertThatThrownBy(() -> encoder.encode(batch))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("deltas");
    PageBatch foreign = batches.empty(1, ram.layout());
    assertThatThrownBy(() -> encoder.encode(foreign)).isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void theDestinationHasAfterEveryRoundWhatTheSourceHad() {
    for (int seed = 0; seed < 40; seed++) {
      migrate(seed);
    }
  }

  @Test
  void nothingIsEncodedByAClosedEncoder() {
    encoder.beginRound(1, false, false);
    encoder.close();
    encoder.close();
    PageBatch batch = batches.of(source.blocks().getFirst(), 0);
    assertThatThrownBy(() -> encoder.encode(batch))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("the encoder is closed");
    batch.release();
  }

  /** Rounds of random writes, with more pages than slots; the guest writes during the rounds. */
  private void migrate(int seed) {
    Random random = new Random(seed);
    XbzrleSpec spec = new XbzrleSpec(8L * PAGE << random.nextInt(4), random.nextBoolean());
    try (GuestMemory destination =
            GuestMemory.builder()
                .anonymous("ram", 32 * PAGE)
                .pageSize(16 << 10)
                .anonymous("large", 64 << 10)
                .build();
        XbzrleEncoder migration = new XbzrleEncoder(source.layout(), spec, caches)) {
      PageLoader loader = new PageLoader(destination);
      DeltaDecoder decoder = new DeltaDecoder();
      int rounds = 12;
      for (int round = 1; round <= rounds; round++) {
        boolean last = round == rounds;
        migration.beginRound(round, round == 1, last);
        for (RamBlock block : source.blocks()) {
          for (long page = 0; page < block.pageCount(); page += 8) {
            PageBatch batch =
                batches.of(
                    block,
                    random
                        .longs(page, Math.min(page + 8, block.pageCount()))
                        .limit(8)
                        .sorted()
                        .distinct()
                        .toArray());
            if (round == 1 || last) {
              batch.release();
              batch =
                  batches.of(
                      block,
                      java.util.stream.LongStream.range(page, Math.min(page + 8, block.pageCount()))
                          .toArray());
            }
            if (!last) {
              write(block, random);
            }
            migration.encode(batch);
            decoder.expand(batch, destination);
            loader.load(batch);
            batch.release();
          }
        }
      }
      assertThat(Batches.same(source, destination)).as("seed %d", seed).isTrue();
      assertThat(decoder.deltaPages()).as("seed %d", seed).isPositive();
    }
    assertThat(batches.pool.outstanding()).isZero();
  }

  private static void write(RamBlock block, Random random) {
    for (int n = random.nextInt(6); n > 0; n--) {
      long page = random.nextLong(block.pageCount());
      if (random.nextInt(6) == 0) {
        Batches.page(block, page).fill((byte) 0);
      } else {
        Mutation[] all = Mutation.values();
        all[random.nextInt(all.length)].apply(Batches.page(block, page), random);
      }
    }
  }
}
