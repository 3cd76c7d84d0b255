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
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.publisher.Mono;

/** A source to which somebody says in post-copy what no destination says. */
@Timeout(60)
class HostilePostcopyDestinationTest {

  private static final int POSTCOPY_BEGIN = 35;
  private static final int POSTCOPY_END = 37;

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

  /** Whatever is said on the two connections, besides what has to be. */
  private record Script(
      BiConsumer<ScriptedPeer, Integer> main, BiConsumer<ScriptedPeer, Integer> lane) {}

  private End migrate(Script script) {
    AtomicInteger connections = new AtomicInteger();
    Connector connector =
        () ->
            Mono.<Connection>fromSupplier(
                () -> connections.getAndIncrement() == 0 ? main(script) : lane(script));
    return migrate(connector);
  }

  private End migrate(Connector connector) {
    return End.of(
        guest.migrate(
            guest
                .outgoing(connector)
                .withPostcopy(OutgoingPostcopySpec.DEFAULT)
                .withMaxRounds(9)
                .withPeerTimeout(Duration.ofSeconds(3))
                .withPolicy(PostcopyPolicy.after(LimitPolicy::new, 1, Duration.ofHours(1)))));
  }

  private ScriptedPeer main(Script script) {
    ScriptedPeer peer =
        new ScriptedPeer(
            (p, type) -> {
              switch (type) {
                case WireBytes.HELLO ->
                    p.say(new WireRecord.Hello(1, 1, Feature.all(), 0, session(p), 0, 1, "test"));
                case WireBytes.LAYOUT ->
                    p.say(new WireRecord.PostcopyAdvise(4096, 4), new WireRecord.Ready());
                case WireBytes.ROUND_END -> p.say(acknowledge(p));
                default -> {}
              }
              script.main().accept(p, type);
            });
    peers.add(peer);
    return peer;
  }

  private ScriptedPeer lane(Script script) {
    ScriptedPeer peer =
        new ScriptedPeer(
            (p, type) -> {
              if (type == WireBytes.HELLO) {
                p.say(new WireRecord.Hello(1, 1, Feature.all(), 0, session(p), 1, 2, "test"));
              }
              script.lane().accept(p, type);
            });
    peers.add(peer);
    return peer;
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

  private static final BiConsumer<ScriptedPeer, Integer> NOTHING = (peer, type) -> {};

  /** The destination that does as it should up to the end. */
  private static BiConsumer<ScriptedPeer, Integer> proper(BiConsumer<ScriptedPeer, Integer> then) {
    return (peer, type) -> {
      if (type == POSTCOPY_BEGIN) {
        peer.say(new WireRecord.Prepared(last(peer, POSTCOPY_BEGIN).getLong(0)));
      } else if (type == WireBytes.COMMIT) {
        peer.say(new WireRecord.Running());
      }
      then.accept(peer, type);
    };
  }

  private void assertRefused(End end, String text, boolean guestRunsHere) {
    MigrationException failure = end.failure();
    assertThat(failure.kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(failure).hasMessageContaining(text);
    assertThat(guest.running).isEqualTo(guestRunsHere);
    if (!guestRunsHere) {
      assertThat(failure)
          .hasMessageContaining("the guest runs at the destination, which may lack pages");
    }
  }

  @Test
  void aDestinationThatDoesAsItShouldIsServed() {
    End end =
        migrate(
            new Script(
                proper(
                    (peer, type) -> {
                      if (type == POSTCOPY_END) {
                        ByteBuffer sent = last(peer, POSTCOPY_END);
                        peer.say(
                            new WireRecord.PostcopyComplete(sent.getLong(0) + sent.getLong(8)));
                      }
                    }),
                NOTHING));
    assertThat(end.error()).isNull();
    assertThat(guest.running).isFalse();
  }

  @Test
  void aPageRequestInPreCopyIsRefused() {
    assertRefused(
        migrate(
            new Script(
                NOTHING,
                (peer, type) -> {
                  if (type == WireBytes.HELLO) {
                    peer.say(new WireRecord.PageRequest(0, 0, 1));
                  }
                })),
        "requests a page, but this is no post-copy yet",
        true);
    guest.reset();
    assertRefused(
        migrate(
            new Script(
                (peer, type) -> {
                  if (type == WireBytes.ROUND_BEGIN) {
                    peer.say(new WireRecord.PageRequest(0, 0, 1));
                  }
                },
                NOTHING)),
        "sent a PageRequest record out of turn",
        true);
  }

  private End requesting(WireRecord... requests) {
    ScriptedPeer[] lane = new ScriptedPeer[1];
    return migrate(
        new Script(
            proper(
                (peer, type) -> {
                  if (type == POSTCOPY_BEGIN) {
                    lane[0].say(requests);
                  }
                }),
            (peer, type) -> lane[0] = peer));
  }

  @Test
  void requestsThatCannotBeAreRefused() {
    // The guest runs at one of the two, whichever came first: the refusal or the hand-over.
    for (WireRecord request :
        List.of(
            new WireRecord.PageRequest(7, 0, 1),
            new WireRecord.PageRequest(0, 6, 1),
            new WireRecord.PageRequest(0, 0, 60_000),
            new WireRecord.PageRequest(0, Long.MAX_VALUE, 1))) {
      guest.reset();
      End end = requesting(request);
      assertThat(end.failure().kind()).as(request.toString()).isEqualTo(Kind.PROTOCOL);
      assertThat(end.message()).contains("the destination");
      assertThat(guest.running).isEqualTo(!end.message().contains("runs at the destination"));
    }
  }

  @Test
  void neverEndingRequestsAreRefused() {
    // The guest writes after the first round: the page of 512 bytes, and so the host's page, is
    // absent.
    WireRecord[] requests = new WireRecord[1000];
    java.util.Arrays.fill(requests, new WireRecord.PageRequest(0, 1, 1));
    End end = requesting(requests);
    assertThat(end.failure().kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(end.message()).contains("the destination requests page 1 of block 0 a second time");
  }

  @Test
  void moreRequestsAtATimeThanWereAnnouncedAreRefused() {
    End end = requesting(new WireRecord.PageRequest(0, 1, 5));
    assertThat(end.failure().kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(end.message()).contains("more than the 4 pages requested at a time");
  }

  @Test
  void aDestinationThatClaimsToHaveWhatItHasNotIsRefused() {
    assertThat(
            migrate(
                    new Script(
                        proper(
                            (peer, type) -> {
                              if (type == WireBytes.COMMIT) {
                                peer.say(new WireRecord.PostcopyComplete(77));
                              }
                            }),
                        NOTHING))
                .message())
        .contains("claims to have 77 absent pages")
        .contains("keep this memory");
    guest.reset();
    assertRefused(
        migrate(
            new Script(
                (peer, type) -> {
                  if (type == POSTCOPY_BEGIN) {
                    peer.say(new WireRecord.PostcopyComplete(0));
                  }
                },
                NOTHING)),
        "sent a PostcopyComplete record out of turn",
        true);
  }

  @Test
  void anAnswerOfAnotherMigrationOnTheLaneIsRefused() {
    AtomicInteger connections = new AtomicInteger();
    ScriptedPeer stranger =
        new ScriptedPeer((p, type) -> {})
            .say(new WireRecord.Hello(1, 1, Feature.all(), 0, new UUID(3, 3), 1, 2, "test"));
    peers.add(stranger);
    Connector connector =
        () ->
            Mono.<Connection>fromSupplier(
                () ->
                    connections.getAndIncrement() == 0
                        ? main(new Script(NOTHING, NOTHING))
                        : stranger);
    End end = migrate(connector);
    assertRefused(end, "was answered for channel 1 of session", true);
    assertThat(guest.pauses).hasValue(0);
  }

  @Test
  void aDestinationThatRefusesAfterTheHandOverLeavesTheGuestToTheSource() {
    End end =
        migrate(
            new Script(
                (peer, type) -> {
                  if (type == POSTCOPY_BEGIN) {
                    peer.say(new WireRecord.Prepared(last(peer, POSTCOPY_BEGIN).getLong(0)));
                  } else if (type == WireBytes.COMMIT) {
                    peer.say(new WireRecord.Failure(Kind.GUEST, "it will not start"));
                  }
                },
                NOTHING));
    assertThat(end.failure().isFromPeer()).isTrue();
    assertThat(guest.running).isTrue();
  }
}
