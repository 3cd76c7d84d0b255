package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.wire.Feature;
import io.pageflux.wire.WireRecord;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** A source to which somebody says what no destination says. */
@Timeout(60)
class HostileDestinationTest {

  private static final WireRecord.Hello HELLO =
      new WireRecord.Hello(1, 1, Feature.all(), 0, new UUID(1, 2), 0, 1, "a test");
  private static final WireRecord READY = new WireRecord.Ready();

  private final TinyGuest guest = TinyGuest.atSource();

  @AfterEach
  void nothingIsLeft() {
    Leftovers.assertNoThreads();
    guest.close();
  }

  /** A peer that answers records of a type, each time the same. */
  private static ScriptedPeer answering(Map<Integer, List<WireRecord>> answers) {
    return new ScriptedPeer(
        (peer, type) -> answers.getOrDefault(type, List.of()).forEach(record -> peer.say(record)));
  }

  private MigrationException refusal(ScriptedPeer peer) {
    guest.reset();
    End end = End.of(guest.migrate(peer.connector()));
    assertThat(end.message()).doesNotContain("\n").hasSizeLessThan(500);
    assertThat(peer.heardTypes()).doesNotContain(WireBytes.COMMIT);
    assertThat(guest.running).isTrue();
    assertThat(peer.unreleased).hasValue(0);
    return end.failure();
  }

  private void assertOutOfTurn(String type, Map<Integer, List<WireRecord>> answers) {
    ScriptedPeer peer = answering(answers);
    MigrationException e = refusal(peer);
    assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(e).hasMessage("the script sent a " + type + " record out of turn");
    assertThat(peer.heardTypes()).endsWith(WireBytes.FAILURE);
    assertThat(Collections.frequency(peer.heardTypes(), WireBytes.ROUND_BEGIN))
        .isLessThanOrEqualTo(1);
  }

  @Test
  void anotherProtocolIsNamed() {
    MigrationException e =
        refusal(ScriptedPeer.playing("HTTP/1.1 400 Bad".getBytes(StandardCharsets.UTF_8)));
    assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(e).hasMessageContaining("does not speak Pageflux").hasMessageContaining("HTTP");
  }

  @Test
  void anotherVersionIsNamed() {
    MigrationException e =
        refusal(
            answering(
                Map.of(
                    WireBytes.HELLO,
                    List.of(new WireRecord.Hello(9, 9, 0, 0, new UUID(1, 2), 0, 1, "a test")))));
    assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(e).hasMessageContaining("the peer (a test) speaks version 9");
  }

  @Test
  void aFailureBeforeTheGreetingIsNoGreeting() {
    // By hand: the writer would not write it.
    byte[] failure =
        WireBytes.sealed(
            WireBytes.FAILURE,
            0,
            0,
            6,
            (byte) 0,
            (byte) 9,
            (byte) 0,
            (byte) 2,
            (byte) 'n',
            (byte) 'o');
    ScriptedPeer peer = new ScriptedPeer((p, type) -> {});
    peer.sayBytes("PAGEFLUX".getBytes(StandardCharsets.UTF_8)).sayBytes(failure);
    MigrationException e = refusal(peer);
    assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(e).hasMessageContaining("the first record must be HELLO");
  }

  @Test
  void whoeverAcceptsAndClosesIsTold() {
    MigrationException e = refusal(ScriptedPeer.playing(new byte[0]).close());
    assertThat(e.kind()).isEqualTo(Kind.TRANSPORT);
    assertThat(e).hasMessageContaining("the preamble");
  }

  @Test
  void whoeverSaysNothingIsGivenUp() {
    for (Map<Integer, List<WireRecord>> answers :
        List.<Map<Integer, List<WireRecord>>>of(
            Map.of(),
            Map.of(WireBytes.HELLO, List.of(HELLO)),
            Map.of(WireBytes.HELLO, List.of(HELLO), WireBytes.LAYOUT, List.of(READY)))) {
      guest.reset();
      ScriptedPeer peer = answering(answers);
      End end =
          End.of(
              guest.migrate(
                  guest.outgoing(peer.connector()).withPeerTimeout(Duration.ofMillis(100))));
      assertThat(end.failure().kind()).isEqualTo(Kind.TIMEOUT);
      assertThat(end.message()).isEqualTo("the script has said nothing for 100 ms");
      assertThat(guest.running).isTrue();
      assertThat(peer.heardTypes()).endsWith(WireBytes.FAILURE);
    }
  }

  @Test
  void answersOutOfTurnAreRefused() {
    assertOutOfTurn("Hello", Map.of(WireBytes.HELLO, List.of(HELLO, HELLO)));
    assertOutOfTurn("Ready", Map.of(WireBytes.HELLO, List.of(HELLO, READY)));
    assertOutOfTurn(
        "Ready", Map.of(WireBytes.HELLO, List.of(HELLO), WireBytes.LAYOUT, List.of(READY, READY)));
    assertOutOfTurn(
        "Prepared", Map.of(WireBytes.HELLO, List.of(HELLO, new WireRecord.Prepared(0))));
    assertOutOfTurn("Running", Map.of(WireBytes.HELLO, List.of(HELLO, new WireRecord.Running())));
    assertOutOfTurn(
        "Layout",
        Map.of(
            WireBytes.HELLO,
            List.of(HELLO, new WireRecord.Layout(guest.memory.layout(), TinyGuest.GEOMETRY))));
    assertOutOfTurn("Commit", Map.of(WireBytes.HELLO, List.of(HELLO, new WireRecord.Commit())));
    assertOutOfTurn(
        "RoundAck", Map.of(WireBytes.HELLO, List.of(HELLO, new WireRecord.RoundAck(1, 7))));
  }

  @Test
  void anAcknowledgementBeforeTheRoundsEndIsRefused() {
    assertOutOfTurn(
        "RoundAck",
        Map.of(
            WireBytes.HELLO,
            List.of(HELLO),
            WireBytes.LAYOUT,
            List.of(READY),
            WireBytes.ROUND_BEGIN,
            List.of(new WireRecord.RoundAck(1, 7))));
  }

  @Test
  void anAcknowledgementOfAnotherRoundIsRefused() {
    for (int round : new int[] {2, 7}) {
      assertOutOfTurn("RoundAck", answersToRound(new WireRecord.RoundAck(round, 7)));
    }
  }

  private static Map<Integer, List<WireRecord>> answersToRound(WireRecord... answers) {
    return Map.of(
        WireBytes.HELLO,
        List.of(HELLO),
        WireBytes.LAYOUT,
        List.of(READY),
        WireBytes.ROUND_END,
        List.of(answers));
  }

  @Test
  void anAcknowledgementOfOtherPagesIsRefused() {
    MigrationException e = refusal(answering(answersToRound(new WireRecord.RoundAck(1, 6))));
    assertThat(e.kind()).isEqualTo(Kind.INTEGRITY);
    assertThat(e).hasMessage("the script has applied 6 pages of round 1, but 7 were sent");
  }

  @Test
  void apparentPreparationBeforeTheEndIsRefused() {
    assertOutOfTurn(
        "Prepared", answersToRound(new WireRecord.RoundAck(1, 7), new WireRecord.Prepared(7)));
  }

  /** A peer that does everything right until it answers one type of record otherwise. */
  private static ScriptedPeer rightBut(int type, WireRecord... instead) {
    int[] rounds = {0};
    return new ScriptedPeer(
        (peer, heard) -> {
          if (heard == type) {
            peer.say(instead);
            return;
          }
          switch (heard) {
            case WireBytes.HELLO -> peer.say(HELLO);
            case WireBytes.LAYOUT -> peer.say(READY);
            case WireBytes.ROUND_END ->
                peer.say(new WireRecord.RoundAck(++rounds[0], rounds[0] == 1 ? 7 : 2));
            case WireBytes.END -> peer.say(new WireRecord.Prepared(11));
            case WireBytes.COMMIT -> peer.say(new WireRecord.Running());
            default -> {}
          }
        });
  }

  @Test
  void aPeerThatDoesEverythingRightIsBelieved() {
    End end = End.of(guest.migrate(rightBut(0).connector()));
    assertThat(end.error()).isNull();
    assertThat(guest.running).isFalse();
  }

  @Test
  void otherTotalsAreRefused() {
    MigrationException e = refusal(rightBut(WireBytes.END, new WireRecord.Prepared(10)));
    assertThat(e.kind()).isEqualTo(Kind.INTEGRITY);
    assertThat(e).hasMessage("11 pages were sent, but the script has applied 10");
  }

  @Test
  void aGuestThatRunsBeforeItWasHandedOverIsRefused() {
    MigrationException e = refusal(rightBut(WireBytes.END, new WireRecord.Running()));
    assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(e).hasMessage("the script sent a Running record out of turn");
  }

  @Test
  void aFailureGivesTheGuestBackAtAnyTime() {
    WireRecord failure = new WireRecord.Failure(Kind.GUEST, "no");
    for (int type :
        new int[] {
          WireBytes.LAYOUT,
          WireBytes.ROUND_BEGIN,
          WireBytes.PAGES,
          WireBytes.ROUND_END,
          WireBytes.DEVICE_STATE,
          WireBytes.END,
          WireBytes.COMMIT
        }) {
      guest.reset();
      End end = End.of(guest.migrate(rightBut(type, failure).connector()));
      assertThat(end.message()).as("after type %d", type).isEqualTo("the peer reports: no");
      assertThat(guest.running).as("after type %d", type).isTrue();
    }
  }

  @Test
  void whatIsSaidAfterTheGuestRunsChangesNothing() {
    for (WireRecord after :
        List.of(new WireRecord.Failure(Kind.GUEST, "no"), new WireRecord.Running(), HELLO)) {
      guest.reset();
      End end =
          End.of(
              guest.migrate(
                  rightBut(WireBytes.COMMIT, new WireRecord.Running(), after).connector()));
      assertThat(end.error()).as("after " + after).isNull();
      assertThat(guest.running).isFalse();
    }
  }

  @Test
  void aPeerThatClosesAsSoonAsTheGuestRunsIsASuccess() {
    for (int i = 0; i < 50; i++) {
      guest.reset();
      ScriptedPeer right = rightBut(0);
      ScriptedPeer[] abrupt = new ScriptedPeer[1];
      abrupt[0] =
          new ScriptedPeer(
              (peer, type) -> {
                right.onRecord().accept(peer, type);
                if (type == WireBytes.COMMIT) {
                  peer.close().dispose();
                }
              });
      End end = End.of(guest.migrate(abrupt[0].connector()));
      assertThat(end.error()).as("attempt %d", i).isNull();
    }
  }

  @Test
  void aFloodOfSignsOfLifeCostsNothing() {
    ScriptedPeer peer = rightBut(0);
    ScriptedPeer flood =
        new ScriptedPeer(
            (p, type) -> {
              for (int i = 0; i < 1000; i++) {
                if (type != WireBytes.HELLO) {
                  p.say(new WireRecord.KeepAlive(), new WireRecord.Progress(1, 1));
                }
              }
              peer.onRecord().accept(p, type);
            });
    assertThat(End.of(guest.migrate(flood.connector())).error()).isNull();
    assertThat(flood.heardTypes()).doesNotContain(WireBytes.KEEP_ALIVE);
  }
}
