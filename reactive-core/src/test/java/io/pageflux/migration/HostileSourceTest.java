package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.wire.Feature;
import io.pageflux.wire.WireRecord;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.UUID;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** A destination to which somebody says what no source says. */
@Timeout(60)
class HostileSourceTest {

  private final TinyGuest guest = new TinyGuest();

  @AfterEach
  void nothingIsLeft() {
    assertThat(guest.resumes).hasValue(0);
    Leftovers.assertNoThreads();
    guest.close();
  }

  private static WireRecord.Hello hello(int version, long features, long required, int channels) {
    return new WireRecord.Hello(
        version, version, features, required, new UUID(1, 2), 0, channels, "a test");
  }

  private static final WireRecord.Hello HELLO = hello(1, Feature.all(), 0, 1);

  private WireRecord.Layout layout() {
    return new WireRecord.Layout(guest.memory.layout(), TinyGuest.GEOMETRY);
  }

  /** What a source says until the destination has everything but the end. */
  private List<WireRecord> allButTheEnd() {
    return new ArrayList<>(
        List.of(
            HELLO,
            layout(),
            new WireRecord.RoundBegin(1, true, 0),
            new WireRecord.RoundEnd(1, 0, 0, 0),
            new WireRecord.DeviceState(new byte[5])));
  }

  private MigrationException refusal(ScriptedPeer peer) {
    End end = End.of(guest.receive(peer.acceptor()));
    assertThat(end.message()).doesNotContain("\n").hasSizeLessThan(500);
    assertThat(peer.unreleased).hasValue(0);
    return end.failure();
  }

  private MigrationException refusal(WireRecord... records) {
    ScriptedPeer peer = new ScriptedPeer((p, type) -> {}).say(records);
    MigrationException refusal = refusal(peer);
    // The peer is told, in the end, in the same words.
    assertThat(peer.heardTypes()).endsWith(WireBytes.FAILURE);
    String heard = new String(peer.heard(), StandardCharsets.UTF_8);
    assertThat(heard).contains(String.valueOf(refusal.getMessage()));
    return refusal;
  }

  private MigrationException refusal(List<WireRecord> before, WireRecord... then) {
    List<WireRecord> all = new ArrayList<>(before);
    all.addAll(Arrays.asList(then));
    return refusal(all.toArray(WireRecord[]::new));
  }

  private void assertOutOfTurn(String type, WireRecord... records) {
    MigrationException e = refusal(records);
    assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(e).hasMessageContaining("the script sent a " + type + " record out of turn");
  }

  @Test
  void anotherProtocolIsNamed() {
    MigrationException e =
        refusal(ScriptedPeer.playing("GET / HTTP/1.1\r\n\r\n".getBytes(StandardCharsets.UTF_8)));
    assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(e).hasMessageContaining("does not speak Pageflux").hasMessageContaining("GET /");
  }

  @Test
  void garbageAfterTheGreetingIsRefused() {
    byte[] hello = WireBytes.of(HELLO);
    byte[] bytes = Arrays.copyOf(hello, hello.length + 1000);
    Arrays.fill(bytes, hello.length, bytes.length, (byte) 0xA5);
    assertThat(refusal(ScriptedPeer.playing(bytes)).kind()).isEqualTo(Kind.INTEGRITY);
  }

  @Test
  void whoeverConnectsAndClosesIsTold() {
    MigrationException e = refusal(ScriptedPeer.playing(new byte[0]).close());
    assertThat(e.kind()).isEqualTo(Kind.TRANSPORT);
    assertThat(e).hasMessageContaining("the preamble");
  }

  @Test
  void whoeverSaysNothingIsGivenUp() {
    ScriptedPeer silent = new ScriptedPeer((p, type) -> {});
    End end =
        End.of(
            IncomingMigration.of(
                    guest.incoming(silent.acceptor()).withPeerTimeout(Duration.ofMillis(100)))
                .run());
    assertThat(end.failure().kind()).isEqualTo(Kind.TIMEOUT);
    assertThat(end.message()).isEqualTo("the script has said nothing for 100 ms");
  }

  @Test
  void anotherVersionIsRefusedAndLearnsOurs() {
    ScriptedPeer peer = new ScriptedPeer((p, type) -> {}).say(hello(7, 0, 0, 1));
    MigrationException e = refusal(peer);
    assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(e).hasMessageContaining("version 1").hasMessageContaining("version 7");
    assertThat(peer.heardTypes()).containsExactly(WireBytes.HELLO, WireBytes.FAILURE);
  }

  @Test
  void aFeatureThatWeLackIsNamed() {
    MigrationException e = refusal(hello(1, 1L << 40, 1L << 40, 1));
    assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(e).hasMessageContaining("lacks what the peer (a test) requires");
  }

  @Test
  void moreConnectionsThanOneAreRefused() {
    MigrationException e = refusal(hello(1, 0, 0, 2));
    assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(e).hasMessageContaining("2 connections");
  }

  @Test
  void whatWasNotAgreedUponIsRefused() {
    // A delta from somebody who has said that he sends none.
    byte[] start = WireBytes.of(hello(1, 0, 0, 1), layout(), new WireRecord.RoundBegin(1, true, 7));
    MigrationException e = refusal(playing(start, pages(3, 0, 1, (byte) 2, 5)));
    assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(e).hasMessageContaining("XBZRLE was not agreed upon");
  }

  @Test
  void recordsOutOfTurnAreRefused() {
    assertOutOfTurn("Hello", HELLO, HELLO);
    assertOutOfTurn("RoundBegin", HELLO, new WireRecord.RoundBegin(1, false, 1));
    assertOutOfTurn("Layout", HELLO, layout(), layout());
    assertOutOfTurn("RoundEnd", HELLO, layout(), new WireRecord.RoundEnd(1, 0, 0, 0));
    assertOutOfTurn("DeviceState", HELLO, layout(), new WireRecord.DeviceState(new byte[1]));
    assertOutOfTurn("End", HELLO, layout(), new WireRecord.End(0, 0));
    assertOutOfTurn("Commit", HELLO, new WireRecord.Commit());
    assertOutOfTurn("Commit", HELLO, layout(), new WireRecord.Commit());
    assertOutOfTurn("Ready", HELLO, new WireRecord.Ready());
    assertOutOfTurn("RoundAck", HELLO, layout(), new WireRecord.RoundAck(1, 0));
    assertOutOfTurn("Prepared", HELLO, layout(), new WireRecord.Prepared(0));
    assertOutOfTurn("Running", HELLO, layout(), new WireRecord.Running());
    List<WireRecord> all = allButTheEnd();
    all.add(new WireRecord.Commit());
    assertOutOfTurn("Commit", all.toArray(WireRecord[]::new));
    all.set(all.size() - 1, new WireRecord.RoundBegin(2, false, 1));
    assertOutOfTurn("RoundBegin", all.toArray(WireRecord[]::new));
  }

  @Test
  void pagesBeforeTheLayoutAreRefused() {
    MigrationException e = refusal(playing(WireBytes.of(HELLO), pages(1, 0, 1, (byte) 0, 0)));
    assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(e).hasMessageContaining("before the layout");
  }

  @Test
  void pagesBetweenRoundsAreRefused() {
    MigrationException e =
        refusal(playing(WireBytes.of(HELLO, layout()), pages(2, 0, 1, (byte) 0, 0)));
    assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(e).hasMessageContaining("sent a Pages record out of turn");
  }

  @Test
  void pagesOutOfRangeAreRefused() {
    byte[] start = WireBytes.of(HELLO, layout(), new WireRecord.RoundBegin(1, true, 1));
    for (long page : new long[] {6, Integer.MAX_VALUE, Long.MAX_VALUE, -1}) {
      MigrationException e = refusal(playing(start, pages(3, page, 1, (byte) 0, 0)));
      assertThat(e.kind()).as("page %d", page).isEqualTo(Kind.PROTOCOL);
    }
    assertThat(refusal(playing(start, pages(3, 5, 2, (byte) 0, 0))).kind())
        .isEqualTo(Kind.PROTOCOL);
  }

  @Test
  void brokenDeltasAreRefused() {
    byte[] start = WireBytes.of(HELLO, layout(), new WireRecord.RoundBegin(1, true, 1));
    MigrationException e = refusal(playing(start, pages(3, 0, 1, (byte) 2, 300)));
    assertThat(e.kind()).isEqualTo(Kind.INTEGRITY);
    assertThat(e).hasMessageContaining("page 0 of block 'ram'");
  }

  @Test
  void brokenCompressionIsRefusedAndThePeerIsTold() {
    byte[] start = WireBytes.of(HELLO, layout(), new WireRecord.RoundBegin(1, true, 7));
    ByteBuffer body = ByteBuffer.allocate(36 + 20);
    body.putInt(0).putShort((short) 1).put((byte) 1).put((byte) 0);
    body.putInt(512).putInt(20).putInt(1).putLong(0).putInt(1).put((byte) 1);
    ScriptedPeer peer =
        playing(start, WireBytes.sealed(WireBytes.PAGES, 0, 3, body.capacity(), body.array()));
    assertThat(refusal(peer).kind()).isEqualTo(Kind.INTEGRITY);
    assertThat(peer.heardTypes()).endsWith(WireBytes.FAILURE);
  }

  /** A stream that goes on with a record. */
  private static ScriptedPeer playing(byte[] start, byte[] record) {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    all.writeBytes(start);
    all.writeBytes(record);
    return ScriptedPeer.playing(all.toByteArray());
  }

  /** A batch of one run; the contents of a delta are zeros. */
  private static byte[] pages(int sequence, long first, int count, byte kind, int deltaBytes) {
    ByteBuffer body = ByteBuffer.allocate(36 + (deltaBytes > 0 ? 4 + deltaBytes : 0));
    body.putInt(0).putShort((short) count).put((byte) 0).put((byte) 0);
    body.putInt(deltaBytes).putInt(deltaBytes).putInt(1);
    body.putLong(first).putInt(count).put(kind).put(new byte[3]);
    if (deltaBytes > 0) {
      body.putInt(deltaBytes);
    }
    return WireBytes.sealed(WireBytes.PAGES, 0, sequence, body.capacity(), body.array());
  }

  @Test
  void absurdLengthsAreRefusedBeforeAnythingComes() {
    byte[] start = WireBytes.of(HELLO, layout());
    for (int type = 0; type < 256; type++) {
      for (int flags = 0; flags < 2; flags++) {
        for (int length : new int[] {-1, Integer.MAX_VALUE, 2 << 20}) {
          byte[] record = WireBytes.sealed(type, flags, 2, length);
          assertThat(refusal(playing(start, record)).kind())
              .as("type %d, flags %d, %d bytes", type, flags, length)
              .isEqualTo(Kind.PROTOCOL);
        }
      }
    }
  }

  @Test
  void otherMemoryIsRefusedWithBothLayouts() {
    RamLayout other = new RamLayout(List.of(new RamBlockLayout("rom", 4096, 512)));
    MigrationException e = refusal(HELLO, new WireRecord.Layout(other, TinyGuest.GEOMETRY));
    assertThat(e.kind()).isEqualTo(Kind.LAYOUT);
    assertThat(e).hasMessageContaining("rom").hasMessageContaining("vga");
  }

  @Test
  void batchesThatAreTooLargeAreRefused() {
    for (BatchGeometry large :
        List.of(
            new BatchGeometry(4, 4096), new BatchGeometry(3, BatchGeometry.MAX_PAYLOAD_BYTES))) {
      MigrationException e = refusal(HELLO, new WireRecord.Layout(guest.memory.layout(), large));
      assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
      assertThat(e).hasMessageContaining("takes no more than 3 pages and 4096 bytes");
    }
  }

  @Test
  void roundsCountFromOne() {
    MigrationException e = refusal(HELLO, layout(), new WireRecord.RoundBegin(2, false, 0));
    assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(e).hasMessageContaining("round 2 follows round 0");
  }

  @Test
  void moreDirtyPagesThanThereArePagesAreRefused() {
    MigrationException e =
        refusal(HELLO, layout(), new WireRecord.RoundBegin(1, false, Long.MAX_VALUE));
    assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(e).hasMessageContaining("7 pages");
  }

  @Test
  void morePagesThanTheRoundHasAreRefused() {
    byte[] start = WireBytes.of(HELLO, layout(), new WireRecord.RoundBegin(1, true, 1));
    MigrationException e = refusal(playing(start, pages(3, 0, 2, (byte) 0, 0)));
    assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(e).hasMessageContaining("round 1");
  }

  @Test
  void roundsThatDoNotAddUpAreRefused() {
    WireRecord begin = new WireRecord.RoundBegin(1, false, 1);
    for (WireRecord end :
        List.of(
            new WireRecord.RoundEnd(1, 1, 0, 0),
            new WireRecord.RoundEnd(1, 0, 0, 1),
            new WireRecord.RoundEnd(2, 0, 0, 0))) {
      MigrationException e = refusal(HELLO, layout(), begin, end);
      assertThat(e.kind()).isEqualTo(Kind.INTEGRITY);
      assertThat(e).hasMessageContaining("round 1 ends as round");
    }
  }

  @Test
  void anEndThatDoesNotAddUpIsRefused() {
    for (WireRecord end : List.of(new WireRecord.End(1, 5), new WireRecord.End(0, 4))) {
      MigrationException e = refusal(allButTheEnd(), end);
      assertThat(e.kind()).isEqualTo(Kind.INTEGRITY);
      assertThat(e).hasMessageContaining("were sent, but 0 and 5 have arrived");
    }
  }

  @Test
  void endlessDeviceStateIsRefused() {
    ScriptedPeer peer = new ScriptedPeer((p, type) -> {});
    allButTheEnd().forEach(peer::say);
    for (int i = 0; i <= IncomingSpec.DEFAULT_MAX_DEVICE_STATE_BYTES >> 15; i++) {
      peer.say(new WireRecord.DeviceState(new byte[32768]));
    }
    MigrationException e = refusal(peer);
    assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(e).hasMessageContaining("device state is longer than");
  }

  @Test
  void aGuestThatDoesNotTakeItsDeviceStateIsNotStarted() {
    for (boolean thrown : new boolean[] {true, false}) {
      Guest picky =
          new PassiveGuest() {
            @Override
            public reactor.core.publisher.Mono<Void> loadDeviceState(
                reactor.core.publisher.Flux<byte[]> pieces) {
              IllegalStateException e = new IllegalStateException("of another machine");
              if (thrown) {
                throw e;
              }
              return reactor.core.publisher.Mono.error(e);
            }
          };
      ScriptedPeer peer = new ScriptedPeer((p, type) -> {});
      allButTheEnd().forEach(peer::say);
      peer.say(new WireRecord.End(0, 5), new WireRecord.Commit());
      End end =
          End.of(IncomingMigration.of(IncomingSpec.of(guest.memory, picky, peer.acceptor())).run());
      assertThat(end.failure().kind()).isEqualTo(Kind.GUEST);
      assertThat(end.message())
          .isEqualTo("the guest could not take its device state: of another machine");
    }
  }

  @Test
  void aFloodOfSignsOfLifeCostsNothing() {
    ScriptedPeer peer = new ScriptedPeer((p, type) -> {}).say(HELLO);
    for (int i = 0; i < 100_000; i++) {
      peer.say(new WireRecord.KeepAlive());
    }
    peer.say(new WireRecord.Failure(Kind.GUEST, "enough"));
    End end = End.of(guest.receive(peer.acceptor()));
    assertThat(end.message()).isEqualTo("the peer reports: enough");
    assertThat(end.failure().isFromPeer()).isTrue();
    assertThat(peer.heardTypes()).containsExactly(WireBytes.HELLO);
  }
}
