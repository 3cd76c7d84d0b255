package io.pageflux.qemu.relay;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayDeque;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Mono;

class RelayWindowTest {

  private static final long RECORD = 64 << 10;
  private final RelayWindow window = new RelayWindow();

  private final ArrayDeque<Long> arrivals = new ArrayDeque<>();
  private long now;
  private long linkFree;
  private long passedOn;

  /** A link of so many bytes per second and so long a way, busy as long as it may be. */
  private void drive(long bytesPerSecond, long delayNanos, long records) {
    drive(bytesPerSecond, delayNanos, records, 0);
  }

  /** The same, but for a sender that needs so much time to make a record. */
  private void drive(long bytesPerSecond, long delayNanos, long records, long makingNanos) {
    for (long sent = 0; sent < records; sent++) {
      now += makingNanos;
      while (!arrivals.isEmpty() && arrivals.peek() <= now) {
        assertThat(window.passedOn(++passedOn, arrivals.remove())).isTrue();
      }
      AtomicBoolean mayGoOn = new AtomicBoolean(true);
      linkFree = Math.max(linkFree, now) + RECORD * 1_000_000_000 / bytesPerSecond;
      arrivals.add(linkFree + delayNanos);
      Mono<Void> room = window.sent(RECORD, now);
      if (room != null) {
        mayGoOn.set(false);
        room.subscribe(v -> {}, e -> {}, () -> mayGoOn.set(true));
      }
      while (!mayGoOn.get()) {
        now = arrivals.remove();
        assertThat(window.passedOn(++passedOn, now)).isTrue();
      }
    }
  }

  @Test
  void aFullWindowHoldsTheNextRecordBackUntilThereIsRoom() {
    Mono<Void> room = null;
    int sent = 0;
    while (room == null) {
      room = window.sent(RECORD, 0);
      sent++;
    }
    assertThat(sent * RECORD).isEqualTo(RelayWindow.LEAST_BYTES);
    AtomicBoolean open = new AtomicBoolean();
    room.subscribe(v -> {}, e -> {}, () -> open.set(true));
    assertThat(open).isFalse();
    assertThat(window.passedOn(1, 1)).isTrue();
    assertThat(open).isTrue();
    assertThat(window.bytesUnderWay()).isEqualTo((sent - 1) * RECORD);
  }

  @Test
  void aLongFatLinkGetsAWindowThatFillsIt() {
    drive(125_000_000, 20_000_000, 20_000); // 1 Gbit/s over 20 ms: 2.5 MB under way
    assertThat(window.windowBytes()).isBetween(2_500_000L, 7_500_000L);
  }

  @Test
  void aSlowLinkKeepsItSmall() {
    drive(2_500_000, 1_000_000, 2_000); // 20 Mbit/s
    assertThat(window.windowBytes())
        .isBetween(RelayWindow.LEAST_BYTES, 2 * RelayWindow.LEAST_BYTES);
  }

  @Test
  void aSenderWithLittleToSayDoesNotMakeItGrow() {
    for (int i = 1; i < 1000; i++) {
      assertThat(window.sent(100, i)).isNull();
      assertThat(window.passedOn(i, i + 1)).isTrue();
    }
    assertThat(window.windowBytes()).isEqualTo(RelayWindow.LEAST_BYTES);
  }

  @Test
  void itIsKnownWhetherTheLinkOrTheSenderLimits() {
    assertThat(window.heldBackShare()).isLessThan(0.5);
    drive(25_000_000, 1_000_000, 1_000); // a record takes 2.6 ms
    assertThat(window.heldBackShare()).isGreaterThan(0.5);
    drive(25_000_000, 1_000_000, 1_000, 4_000_000);
    assertThat(window.heldBackShare()).isLessThan(0.5);
    drive(25_000_000, 1_000_000, 1_000, 500_000);
    assertThat(window.heldBackShare()).isGreaterThan(0.5);
  }

  @Test
  void whatCannotHaveBeenPassedOnIsRefused() {
    window.sent(1, 0);
    window.sent(1, 0);
    assertThat(window.passedOn(3, 1)).isFalse();
    assertThat(window.passedOn(2, 1)).isTrue();
    assertThat(window.passedOn(1, 1)).isFalse();
    assertThat(window.passedOn(-1, 1)).isFalse();
    assertThat(window.passedOn(Long.MAX_VALUE, 1)).isFalse();
  }
}
