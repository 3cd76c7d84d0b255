package io.pageflux.qemu.relay;

import static io.pageflux.qemu.relay.CompressionChoice.FIRST_PAUSE_NANOS;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.OptionalLong;
import org.junit.jupiter.api.Test;

class CompressionChoiceTest {

  private static final long BATCH = 512 << 10;
  private static final long BATCH_NANOS = 2_000_000;

  private final CompressionChoice choice = new CompressionChoice();
  private long now = 1_000_000_000_000L;
  private long wire;
  private long busy = 77;

  /** Batches that compression makes a third of, on a link that takes so long for a byte. */
  private int raw(int batches, double nanosPerByte) {
    int raw = 0;
    for (int i = 0; i < batches; i++) {
      boolean compressed = choice.compress(BATCH, wire, OptionalLong.of(busy), now);
      assertThat(choice.isRaw()).isEqualTo(!compressed);
      long bytes = compressed ? BATCH / 3 : BATCH;
      long carried = (long) (bytes * nanosPerByte);
      wire += bytes;
      busy += carried;
      now += Math.max(BATCH_NANOS, carried);
      raw += compressed ? 0 : 1;
    }
    return raw;
  }

  @Test
  void pagesAreSentAsTheyAreWhereTheLinkHasRoomForThat() {
    assertThat(raw(20, 0.5)).isZero(); // too early to say
    assertThat(raw(200, 0.5)).isGreaterThan(190);
  }

  @Test
  void theyAreCompressedWhereTheLinkWouldNotCarryThemAsFast() {
    assertThat(raw(500, 8)).isZero();
  }

  @Test
  void theyAreCompressedWhereTheLinkWouldBeBusyMostOfTheTime() {
    assertThat(raw(500, 2.3)).isZero(); // 60 %
  }

  @Test
  void theyAreCompressedWhereNobodyKnowsTheLink() {
    for (int i = 0; i < 500; i++) {
      assertThat(choice.compress(BATCH, wire, OptionalLong.empty(), now)).isTrue();
      wire += BATCH / 3;
      now += BATCH_NANOS;
    }
  }

  @Test
  void aLinkThatBecomesSlowIsFoundOutSoonAndTriedAgainLaterAndLater() {
    raw(100, 0.1);
    assertThat(choice.isRaw()).isTrue();
    assertThat(raw(100, 8)).isLessThan(15);
    assertThat(choice.isRaw()).isFalse();
    long pause = FIRST_PAUSE_NANOS;
    for (int i = 0; i < 3; i++) {
      pause *= 2;
      long from = now;
      while (!choice.isRaw()) {
        raw(1, 0.1); // all the time the link would have room
      }
      assertThat(now - from).isBetween(pause - 250_000_000, pause + 100_000_000);
      raw(30, 8);
      assertThat(choice.isRaw()).isFalse();
    }
  }
}
