package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.convergence.LimitPolicy;
import io.pageflux.convergence.PostcopyPolicy;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.wire.Feature;
import io.pageflux.wire.WireRecord;
import io.pageflux.wire.WireRecord.Discard;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.function.Function;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.publisher.Mono;
import reactor.util.retry.Retry;

/** A source that comes back after the switch, and hears there what no destination says. */
@Timeout(60)
class HostilePostcopyRecoveryTest {

  private static final int POSTCOPY_BEGIN = 35;
  private static final int POSTCOPY_LISTEN = 33;
  private static final int POSTCOPY_END = 37;

  /** All of the first block: a page of it is written, and they are one page of the host. */
  private static final long ABSENT = 6;

  private final TinyGuest guest = TinyGuest.atSource();
  private final List<ScriptedPeer> peers = new ArrayList<>();

  @AfterEach
  void nothingIsLeft() {
    Leftovers.assertNoThreads();
    for (ScriptedPeer peer : peers) {
      assertThat(peer.unreleased).hasValue(0);
    }
    guest.close();
  }

  /**
   * A migration whose connection ends when COMMIT has come, and whose next ones are others.
   *
   * @param runs whether the destination has said before that the guest runs
   * @param next makes what the source finds then, of its session
   */
  private End migrate(boolean runs, Function<UUID, List<ScriptedPeer>> next) {
    guest.reset();
    peers.clear();
    List<ScriptedPeer> later = new ArrayList<>();
    Connector connector =
        () ->
            Mono.<Connection>fromSupplier(
                () -> {
                  if (peers.isEmpty()) {
                    peers.add(first(runs));
                  } else if (peers.size() == 1) {
                    peers.add(lane(session(peers.getFirst())));
                    later.addAll(next.apply(session(peers.getFirst())));
                  } else if (later.isEmpty()) {
                    throw MigrationException.of(Kind.TRANSPORT, "nobody is there");
                  } else {
                    peers.add(later.removeFirst());
                  }
                  return peers.getLast();
                });
    return End.of(
        guest.migrate(
            guest
                .outgoing(connector)
                .withPostcopy(OutgoingPostcopySpec.DEFAULT)
                .withMaxRounds(9)
                .withPeerTimeout(Duration.ofSeconds(3))
                .withResume(Retry.fixedDelay(2, Duration.ofMillis(1)))
                .withPolicy(PostcopyPolicy.after(LimitPolicy::new, 1, Duration.ofHours(1)))));
  }

  private static ScriptedPeer first(boolean runs) {
    return new ScriptedPeer(
        (p, type) -> {
          switch (type) {
            case WireBytes.HELLO -> p.say(hello(session(p), 0, 1));
            case WireBytes.LAYOUT ->
                p.say(
                    new WireRecord.PostcopyAdvise(4096, 4),
                    WireRecord.ResumePoint.BEGINNING,
                    new WireRecord.Ready());
            case WireBytes.ROUND_END -> p.say(acknowledge(p));
            case POSTCOPY_BEGIN ->
                p.say(new WireRecord.Prepared(last(p, POSTCOPY_BEGIN).getLong(0)));
            case WireBytes.COMMIT -> {
              if (runs) {
                p.say(new WireRecord.Running());
              }
              p.close();
            }
            default -> {}
          }
        });
  }

  private static ScriptedPeer lane(UUID session) {
    return new ScriptedPeer(
        (p, type) -> {
          if (type == WireBytes.HELLO) {
            p.say(hello(session, 1, 2));
          }
        });
  }

  /** Whom the source finds when it comes back, and what he says to its LAYOUT. */
  private static ScriptedPeer again(UUID session, WireRecord... answer) {
    return new ScriptedPeer(
        (p, type) -> {
          switch (type) {
            case WireBytes.HELLO -> p.say(hello(session, 0, 1));
            case WireBytes.LAYOUT -> {
              p.say(answer);
              p.say(new WireRecord.PostcopyAdvise(4096, 4), new WireRecord.Ready());
            }
            case POSTCOPY_END -> p.say(new WireRecord.PostcopyComplete(ABSENT));
            default -> {}
          }
        });
  }

  private static WireRecord.Hello hello(UUID session, int channel, int channels) {
    return new WireRecord.Hello(1, 1, Feature.all(), 0, session, channel, channels, "test");
  }

  private static UUID session(ScriptedPeer peer) {
    ByteBuffer hello =
        ByteBuffer.wrap(peer.heard()).position(WireBytes.PREAMBLE + WireBytes.HEADER + 24);
    return new UUID(hello.getLong(), hello.getLong());
  }

  private static ByteBuffer last(ScriptedPeer peer, int type) {
    WireBytes.Span span =
        WireBytes.records(peer.heard()).stream()
            .filter(s -> s.type() == type)
            .reduce((a, b) -> b)
            .orElseThrow();
    return ByteBuffer.wrap(peer.heard())
        .slice(span.from() + WireBytes.HEADER, span.to() - span.from() - WireBytes.HEADER);
  }

  private static WireRecord acknowledge(ScriptedPeer peer) {
    ByteBuffer end = last(peer, WireBytes.ROUND_END);
    return new WireRecord.RoundAck(
        end.getInt(0), end.getLong(8) + end.getLong(16) + end.getLong(24));
  }

  private static WireRecord lacks(long first, long pages) {
    return new Discard(0, List.of(new Discard.Run(first, pages)));
  }

  private void assertRefused(End end, String text) {
    assertThat(end.failure().kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(end.message()).contains(text);
    assertThat(guest.running).isFalse();
    assertThat(guest.resumes).hasValue(0);
  }

  /** What is said to a source whose guest may run at the destination. */
  private End answered(boolean runs, WireRecord... answer) {
    return migrate(runs, session -> List.of(again(session, answer)));
  }

  @Test
  void aDestinationThatDoesAsItShouldIsSentWhatItLacks() {
    for (boolean runs : new boolean[] {false, true}) {
      End end =
          migrate(
              runs,
              session ->
                  List.of(
                      again(session, new WireRecord.GuestRuns(ABSENT, 4, 2), lacks(1, 4)),
                      lane(session)));
      assertThat(end.error()).isNull();
      assertThat(peers.get(2).heardTypes())
          .containsSubsequence(POSTCOPY_LISTEN, 40, WireBytes.PAGES, POSTCOPY_END);
      assertThat(last(peers.get(2), POSTCOPY_END).getLong(0)).isEqualTo(4);
      assertThat(guest.running).isFalse();
    }
  }

  @Test
  void claimsThatCannotBeAreRefused() {
    assertRefused(
        answered(false, new WireRecord.GuestRuns(ABSENT, 4, 1), lacks(1, 4)),
        "claims to have page 5 of block 0, which was not sent");
    assertRefused(
        answered(false, new WireRecord.GuestRuns(ABSENT + 1, 6, 0), lacks(0, 6)),
        "claims to lack 6 of 7 pages, but 6 were discarded, and it names 6");
    assertRefused(
        answered(false, new WireRecord.GuestRuns(ABSENT, 5, 0), lacks(0, 6)),
        "claims to lack 5 of 6 pages, but 6 were discarded, and it names 6");
    assertRefused(
        answered(
            false,
            new WireRecord.GuestRuns(ABSENT, 1, 6),
            new Discard(1, List.of(new Discard.Run(0, 1)))),
        "claims to lack page 0 of block 1, which was there at the switch");
    assertRefused(
        answered(false, new WireRecord.GuestRuns(ABSENT, 6, 0), lacks(1, 6)),
        "claims to lack pages up to 6 of block 0, which is outside of the layout");
    assertRefused(
        answered(
            false,
            new WireRecord.GuestRuns(ABSENT, 6, 0),
            new Discard(9, List.of(new Discard.Run(0, 1)))),
        "block 9, which is outside of the layout");
  }

  @Test
  void whatIsSaidTwiceOrOutOfTurnIsRefused() {
    assertRefused(
        answered(
            false, new WireRecord.GuestRuns(ABSENT, 6, 0), new WireRecord.GuestRuns(ABSENT, 6, 0)),
        "sent a GuestRuns record out of turn");
    assertRefused(answered(true, lacks(0, 6)), "sent a Discard record out of turn");
    assertRefused(answered(true, new WireRecord.Running()), "sent a Running record out of turn");
    assertThat(answered(true, new WireRecord.PostcopyComplete(ABSENT)).message())
        .contains("claims to have 6 absent pages")
        .contains("keep this memory");
  }

  @Test
  void thatAGuestRunsThatWasNotGivenUpIsRefused() {
    ScriptedPeer peer =
        new ScriptedPeer(
            (p, type) -> {
              switch (type) {
                case WireBytes.HELLO -> p.say(hello(session(p), 0, 1));
                case WireBytes.LAYOUT -> p.say(new WireRecord.GuestRuns(6, 6, 0));
                default -> {}
              }
            });
    peers.add(peer);
    End end =
        End.of(
            guest.migrate(
                guest
                    .outgoing(peer.connector())
                    .withPostcopy(OutgoingPostcopySpec.DEFAULT)
                    .withResume(Retry.fixedDelay(2, Duration.ofMillis(1)))));
    assertThat(end.message()).contains("sent a GuestRuns record out of turn");
    assertThat(guest.running).isTrue();
  }

  @Test
  void aDestinationThatKnowsNothingOfItDoesNotSettleWhereTheGuestIs() {
    End end = answered(false, WireRecord.ResumePoint.BEGINNING);
    assertRefused(end, "knows nothing of the guest that was handed over");
    assertThat(end.message()).contains("stays paused here");
    assertRefused(
        answered(true, new WireRecord.ResumePoint(1, true, 0, 0)),
        "says that it does not run the guest, but had said that it does");
  }

  @Test
  void aFailureThatIsSaidToWhoComesBackIsNoWordOfTheGuest() {
    // It may run there all the same, and whoever says this may be anybody.
    End end =
        migrate(
            false,
            session ->
                List.of(
                    new ScriptedPeer(
                        (p, type) -> {
                          if (type == WireBytes.HELLO) {
                            p.say(
                                hello(session, 0, 1),
                                new WireRecord.Failure(Kind.PROTOCOL, "I await somebody else"));
                          }
                        })));
    assertRefused(end, "I await somebody else");
    assertThat(end.message()).contains("stays paused here");
  }

  @Test
  void aSourceThatFindsNobodyKeepsThePagesAndSaysSo() {
    End end = migrate(true, session -> List.of());
    assertThat(end.message())
        .contains(
            "could not be made again", "the guest runs at the destination", "keep this memory");
    assertThat(guest.running).isFalse();
    assertThat(migrate(false, session -> List.of()).message())
        .contains("could not be made again", "stays paused here");
    assertThat(guest.running).isFalse();
  }

  @Test
  void aGuestWhoseHandOverDidNotArriveGoesOnHereAndTheMigrationWithIt() {
    List<Boolean> ran = new ArrayList<>();
    End end =
        migrate(
            false,
            session ->
                List.of(
                    again(session, new WireRecord.ResumePoint(1, true, 0, 0)),
                    new ScriptedPeer(
                        (p, type) -> {
                          if (type == WireBytes.HELLO) {
                            ran.add(guest.running);
                            p.say(
                                hello(session, 0, 1),
                                new WireRecord.Failure(Kind.CANCELLED, "enough"));
                          }
                        })));
    assertThat(end.message()).contains("enough");
    assertThat(ran).containsExactly(true);
    assertThat(guest.resumes).hasValue(1);
    assertThat(guest.running).isTrue();
  }
}
