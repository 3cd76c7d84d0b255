package io.pageflux.qemu.relay;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayDeque;
import org.junit.jupiter.api.Test;

/** Choices for links and processors of given speeds, in virtual time. */
class CompressionChoiceTest {

  private static final long BATCH = 512 << 10;
  private static final long MIB = 1 << 20;
  private static final double COMPRESSED_PART = 0.35;

  /** In bytes of pages per second: what the processors compress, what a QEMU takes in. */
  private static final double COMPRESSING = 250e6;

  private static final double TAKING_IN = 900e6;
  private static final double AT_ONCE = 1e12;

  /** How long what is sent may wait for the link, in nanoseconds. */
  private static final double QUEUE = 10e6;

  private record UnderWay(CompressionChoice.Stretch stretch, long nanos) {}

  private final CompressionChoice choice = new CompressionChoice();
  private final ArrayDeque<UnderWay> underWay = new ArrayDeque<>();
  private double now;
  private double linkFree;
  private double destinationFree;
  private long rawBytes;

  /** Sends pages that come at some rate over a link of some rate, in bytes per second. */
  private void send(long bytes, double source, double link, boolean linkIsKnownToLimit) {
    for (long sent = 0; sent < bytes; sent += BATCH) {
      boolean compressed = choice.compress(BATCH, linkIsKnownToLimit);
      now += BATCH / (compressed ? Math.min(source, COMPRESSING) : source) * 1e9;
      now = Math.max(now, linkFree - QUEUE);
      double wire = compressed ? BATCH * COMPRESSED_PART : BATCH;
      linkFree = Math.max(now, linkFree) + wire / link * 1e9;
      destinationFree = Math.max(linkFree, destinationFree) + BATCH / TAKING_IN * 1e9;
      rawBytes += compressed ? 0 : BATCH;
      underWay.add(new UnderWay(choice.sent(), (long) destinationFree));
      while (!underWay.isEmpty() && underWay.peek().nanos <= now) {
        UnderWay arrived = underWay.remove();
        choice.arrived(arrived.stretch, BATCH, arrived.nanos);
      }
    }
  }

  @Test
  void onALinkThatIsFasterThanTheProcessorsNothingIsCompressedAfterAWhile() {
    send(400 * MIB, AT_ONCE, 2e9, false);
    assertThat(rawBytes).isGreaterThan(380 * MIB);
    assertThat(choice.isRaw()).isTrue();
  }

  @Test
  void onASlowerOneLittleIsSentToTry() {
    send(400 * MIB, AT_ONCE, 125e6, false);
    assertThat(rawBytes).isBetween(MIB, 2 * MIB);
    assertThat(choice.isRaw()).isFalse();
  }

  @Test
  void andNothingWhereTheLinkIsKnownToLimit() {
    send(400 * MIB, AT_ONCE, 25e6, true);
    assertThat(rawBytes).isZero();
  }

  @Test
  void pagesThatComeSlowlyAreCompressed() {
    send(400 * MIB, 50e6, 2e9, false);
    assertThat(rawBytes).isBetween(MIB, 2 * MIB);
  }

  @Test
  void onALinkThatGivesWayPagesAreCompressedAgain() {
    send(400 * MIB, AT_ONCE, 2e9, false);
    long before = rawBytes;
    send(400 * MIB, AT_ONCE, 50e6, false);
    assertThat(choice.isRaw()).isFalse();
    assertThat(rawBytes - before).isLessThan(80 * MIB); // two stretches
  }

  @Test
  void aLinkThatBecomesFastIsFoundOut() {
    send(64 * MIB, AT_ONCE, 25e6, true);
    send(400 * MIB, AT_ONCE, 2e9, false);
    assertThat(choice.isRaw()).isTrue();
  }
}
