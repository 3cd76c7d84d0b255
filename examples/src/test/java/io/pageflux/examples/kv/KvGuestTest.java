package io.pageflux.examples.kv;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.github.luben.zstd.Zstd;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Objects;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.test.StepVerifier;

class KvGuestTest {

  private static final long SIZE = 8 << 20;
  private static final KvLoad LOAD = new KvLoad(1L << 30, 2);

  private final GuestMemory memory = GuestMemory.builder().anonymous("ram", SIZE).build();
  private final RamBlock block = memory.block(0);
  private final KvGuest guest = KvGuest.create(block, LOAD, 42);

  @AfterEach
  void free() {
    guest.close();
    memory.close();
  }

  private static void runFor(KvGuest guest, long updates) {
    long until = guest.updates() + updates;
    guest.resume().block();
    while (guest.updates() < until) {
      Thread.onSpinWait();
    }
    guest.pause().block();
  }

  private static byte[] stateOf(KvGuest guest) {
    return Objects.requireNonNull(guest.saveDeviceState().single().block());
  }

  private GuestMemory copyOfMemory() {
    GuestMemory copy = GuestMemory.builder().anonymous("ram", SIZE).build();
    copy.block(0).segment().copyFrom(block.segment());
    return copy;
  }

  @Test
  void aNewStoreIsWhole() {
    KvVerification verification = guest.verify();

    assertThat(verification.findings()).isEmpty();
    assertThat(verification.ok()).isTrue();
    assertThat(verification.records()).isEqualTo(guest.recordCount());
    assertThat(verification.updates()).isZero();
  }

  @Test
  void aStoreThatWasWrittenIsWholeAndItsVersionsTellOfEveryUpdate() {
    runFor(guest, 5_000);

    KvVerification verification = guest.verify();
    assertThat(verification.findings()).isEmpty();
    assertThat(verification.ok()).isTrue();
    assertThat(verification.updates()).isEqualTo(guest.updates()).isGreaterThanOrEqualTo(5_000);
  }

  @Test
  void aPausedStoreDoesNotChange() {
    runFor(guest, 100);
    try (GuestMemory before = copyOfMemory()) {
      long updates = guest.updates();
      byte[] state = stateOf(guest);
      assertThat(block.segment().mismatch(before.block(0).segment())).isEqualTo(-1);
      assertThat(guest.updates()).isEqualTo(updates);
      assertThat(stateOf(guest)).isEqualTo(state);
    }
  }

  @Test
  void pausingTwiceAndResumingTwiceDoNothingMore() {
    guest.pause().block();
    guest.resume().block();
    guest.resume().block();
    assertThat(guest.isRunning()).isTrue();
    guest.pause().block();
    guest.pause().block();
    assertThat(guest.isRunning()).isFalse();
    assertThat(guest.verify().ok()).isTrue();
  }

  @Test
  void aThrottledStoreCanBePausedAndStaysPausedWhenItIsLetOff() {
    assertThat(guest.canThrottle()).isTrue();
    guest.resume().block();
    guest.throttle(99).block();
    assertThat(guest.throttlePercent()).isEqualTo(99);
    guest.pause().block();
    long updates = guest.updates();
    guest.throttle(0).block();
    assertThat(guest.isRunning()).isFalse();
    assertThat(guest.throttlePercent()).isZero();
    assertThat(guest.updates()).isEqualTo(updates);
    runFor(guest, 1_000);
    assertThat(guest.verify().ok()).isTrue();
  }

  @Test
  void aStoreGoesOnElsewhereWithItsMemoryAndItsState() {
    runFor(guest, 2_000);
    byte[] state = stateOf(guest);
    try (GuestMemory copy = copyOfMemory();
        KvGuest moved = KvGuest.awaited(copy.block(0), LOAD)) {
      byte[] head = Arrays.copyOf(state, 7);
      byte[] tail = Arrays.copyOfRange(state, 7, state.length);
      moved.loadDeviceState(Flux.just(head, tail)).block();

      assertThat(moved.updates()).isEqualTo(guest.updates());
      assertThat(moved.verify().findings()).isEmpty();
      runFor(moved, 2_000);
      KvVerification verification = moved.verify();
      assertThat(verification.findings()).isEmpty();
      assertThat(verification.updates()).isGreaterThanOrEqualTo(4_000);
    }
  }

  @Test
  void anyCorruptedByteIsFound() {
    long seed = System.nanoTime();
    SplittableRandom random = new SplittableRandom(seed);
    runFor(guest, 500);
    for (int i = 0; i < 50; i++) {
      long at = random.nextLong(SIZE);
      byte right = block.segment().get(ValueLayout.JAVA_BYTE, at);
      byte wrong = (byte) (right ^ 1 << random.nextInt(8));
      block.segment().set(ValueLayout.JAVA_BYTE, at, wrong);
      assertThat(guest.verify().ok()).as("byte %d is wrong, seed %d", at, seed).isFalse();
      block.segment().set(ValueLayout.JAVA_BYTE, at, right);
    }
    assertThat(guest.verify().ok()).isTrue();
  }

  @Test
  void aPageThatIsOutdatedIsFound() {
    try (GuestMemory old = copyOfMemory()) {
      runFor(guest, 20_000);
      long page = firstPageThatDiffersFrom(old);
      MemorySegment.copy(old.block(0).segment(), page * 4096, block.segment(), page * 4096, 4096);

      KvVerification verification = guest.verify();
      assertThat(verification.damaged()).isZero();
      assertThat(verification.outdatedRegions()).isPositive();
      assertThat(verification.findings().getFirst()).contains("are not the recent ones");
      assertThat(verification.ok()).isFalse();
    }
  }

  @Test
  void anOutdatedPageIsFoundAlsoAfterMoreUpdates() {
    try (GuestMemory old = copyOfMemory()) {
      runFor(guest, 5_000);
      long page = firstPageThatDiffersFrom(old);
      MemorySegment.copy(old.block(0).segment(), page * 4096, block.segment(), page * 4096, 4096);
      runFor(guest, 50_000);
      assertThat(guest.verify().outdatedRegions()).isPositive();
    }
  }

  private long firstPageThatDiffersFrom(GuestMemory old) {
    return block.segment().mismatch(old.block(0).segment()) / 4096;
  }

  @Test
  void swappedPagesAreFound() {
    try (GuestMemory copy = copyOfMemory()) {
      MemorySegment.copy(copy.block(0).segment(), 0, block.segment(), 4096, 4096);
      MemorySegment.copy(copy.block(0).segment(), 4096, block.segment(), 0, 4096);

      KvVerification verification = guest.verify();
      assertThat(verification.misplaced()).isEqualTo(16);
      assertThat(verification.findings().getFirst())
          .isEqualTo("record 8 lies at byte 0, where record 0 belongs");
    }
  }

  @Test
  void aLostPageAndOneThatShouldBeZeroAreFound() {
    block.segment().asSlice(8192, 4096).fill((byte) 0);
    assertThat(guest.verify().damaged()).isEqualTo(8);

    long free = 0;
    while (KvLayout.isUsed(free)) {
      free++;
    }
    block.segment().set(ValueLayout.JAVA_BYTE, free * KvLayout.CHUNK_BYTES + 5, (byte) 1);
    assertThat(guest.verify().soiledChunks()).isEqualTo(1);
  }

  @Test
  void aRunningStoreNoticesDamageToo() {
    for (long page = 0; page < SIZE / 4096; page++) {
      block.segment().set(ValueLayout.JAVA_BYTE, page * 4096 + 100, (byte) 1);
      block.segment().asSlice(page * 4096 + 512, 3584).fill((byte) 7);
    }
    // However often it is paused before a thread has come to a record.
    StepVerifier.create(guest.resume().then(guest.pause()).repeat())
        .expectErrorSatisfies(
            e ->
                assertThat(e)
                    .isInstanceOf(KvDamageException.class)
                    .hasMessageContaining("about to be updated, is damaged"))
        .verify();
  }

  @Test
  void aStateThatIsNoneIsRefused() {
    byte[] state = stateOf(guest);
    for (int length : new int[] {0, 3, 19, 20, state.length - 1}) {
      StepVerifier.create(guest.loadDeviceState(Flux.just(Arrays.copyOf(state, length))))
          .verifyError(IllegalArgumentException.class);
    }
    StepVerifier.create(guest.loadDeviceState(Flux.just(new byte[state.length])))
        .verifyErrorMessage("the device state is not that of a key-value store");
    StepVerifier.create(guest.loadDeviceState(Flux.just(Arrays.copyOf(state, state.length + 1))))
        .verifyErrorMessage("the device state has 1 bytes too many");
    StepVerifier.create(guest.loadDeviceState(Flux.just(new byte[10]).repeat()))
        .verifyErrorSatisfies(e -> assertThat(e).hasMessageContaining("has more than the"));
  }

  @Test
  void theStateOfAStoreOfAnotherSizeIsRefused() {
    try (GuestMemory larger = GuestMemory.builder().anonymous("ram", SIZE * 2).build();
        KvGuest other = KvGuest.awaited(larger.block(0), LOAD)) {
      StepVerifier.create(other.loadDeviceState(guest.saveDeviceState()))
          .verifyErrorSatisfies(e -> assertThat(e).hasMessageContaining("but this one has"));
    }
  }

  @Test
  void aStoreWithoutStateDoesNotRun() {
    try (GuestMemory empty = GuestMemory.builder().anonymous("ram", SIZE).build();
        KvGuest awaited = KvGuest.awaited(empty.block(0), LOAD)) {
      assertThatThrownBy(() -> awaited.resume().block())
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("it has no state yet");
    }
  }

  @Test
  void contentsAreModeratelyCompressible() {
    byte[] chunk = block.segment().asSlice(0, KvLayout.CHUNK_BYTES).toArray(ValueLayout.JAVA_BYTE);

    double ratio = (double) chunk.length / Zstd.compress(chunk, 1).length;

    assertThat(ratio).isBetween(2.0, 4.5);
  }

  @Test
  void mostUpdatesGoToATenthOfThePages() {
    try (GuestMemory before = copyOfMemory()) {
      long updates = 2 * guest.recordCount() / 8;
      runFor(guest, updates);
      long dirty = 0;
      for (long at = 0; at < SIZE; at += 4096) {
        dirty +=
            MemorySegment.mismatch(
                        block.segment(), at, at + 4096, before.block(0).segment(), at, at + 4096)
                    < 0
                ? 0
                : 1;
      }
      assertThat((double) dirty * 8 / guest.recordCount()).isBetween(0.1, 0.6);
    }
  }
}
