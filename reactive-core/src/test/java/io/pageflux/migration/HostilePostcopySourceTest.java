package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.GuestMemory;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import io.pageflux.postcopy.AbsentPages;
import io.pageflux.postcopy.PostcopyMemory;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.wire.Feature;
import io.pageflux.wire.WireRecord;
import io.pageflux.wire.WireRecord.Discard;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.publisher.Mono;

/** A destination to which somebody says in post-copy what no source says. */
@Timeout(60)
class HostilePostcopySourceTest {

  private static final UUID SESSION = new UUID(1, 2);
  private static final BatchGeometry GEOMETRY = new BatchGeometry(8, 32 << 10);
  private static final int PAGES = 16;

  private final GuestMemory memory = GuestMemory.builder().anonymous("ram", PAGES * 4096).build();
  private final GuestMemory small =
      GuestMemory.builder().pageSize(512).anonymous("ram", PAGES * 512).build();
  private final SlabPool slabs = new SlabPool(8, GEOMETRY);
  private final AtomicInteger resumes = new AtomicInteger();
  private final List<ScriptedPeer> peers = new ArrayList<>();
  private PostcopyMemory absentBy = PostcopyMemory.of(memory);
  private Runnable onResume = () -> {};

  private final Guest guest =
      new Guest() {
        @Override
        public Mono<Void> pause() {
          return Mono.empty();
        }

        @Override
        public Mono<Void> resume() {
          return Mono.fromRunnable(
              () -> {
                resumes.incrementAndGet();
                onResume.run();
              });
        }
      };

  @AfterEach
  void nothingIsLeft() {
    Leftovers.assertNoThreads();
    assertThat(slabs.outstanding()).isZero();
    for (ScriptedPeer peer : peers) {
      assertThat(peer.unreleased).hasValue(0);
    }
    AbsentPages absent = absentBy.absent();
    assertThat(absent == null ? 0 : absent.waitedFor()).isZero();
    slabs.close();
    memory.close();
    small.close();
  }

  private static WireRecord.Hello hello(UUID session, int channel, int channels) {
    return new WireRecord.Hello(1, 1, Feature.all(), 0, session, channel, channels, "a test");
  }

  private WireRecord pages(PageKind kind, long... pages) {
    PageBatch batch =
        new PageBatch(
            0,
            absentBy.memory().block(0).layout(),
            Objects.requireNonNull(slabs.tryAcquire()),
            GEOMETRY.headroomBytes(),
            GEOMETRY);
    for (long page : pages) {
      batch.append(
          page,
          kind,
          kind == PageKind.RAW ? batch.pageSizeBytes() : kind == PageKind.DELTA ? 5 : 0);
    }
    batch.stored().fill((byte) 1);
    return new WireRecord.Pages(batch);
  }

  /** Peers in the order in which they connect. */
  private Acceptor acceptor(List<ScriptedPeer> queue) {
    peers.addAll(queue);
    AtomicInteger next = new AtomicInteger();
    return new Acceptor() {
      @Override
      public Mono<Connection> accept() {
        return Mono.defer(
            () -> {
              int i = next.getAndIncrement();
              return i < queue.size() ? Mono.just(queue.get(i)) : Mono.never();
            });
      }

      @Override
      public String address() {
        return "the script";
      }

      @Override
      public void dispose() {}
    };
  }

  private End receive(ScriptedPeer... queue) {
    return End.of(
        IncomingMigration.of(
                IncomingSpec.of(absentBy.memory(), guest, acceptor(List.of(queue)))
                    .withWorkers(1)
                    .withMaxGeometry(GEOMETRY)
                    .withPostcopy(absentBy))
            .run());
  }

  /** What is said in a migration that switches after a round with no page. */
  private ScriptedPeer main(Consumer<ScriptedPeer> onRunning) {
    return new ScriptedPeer(
            (peer, type) -> {
              switch (type) {
                case WireBytes.HELLO ->
                    peer.say(new WireRecord.Layout(absentBy.memory().layout(), GEOMETRY));
                case WireBytes.READY ->
                    peer.say(
                        new WireRecord.RoundBegin(1, false, PAGES),
                        new WireRecord.RoundEnd(1, 0, 0, 0));
                case WireBytes.ROUND_ACK -> peer.say(new WireRecord.PostcopyListen());
                case WireBytes.PREPARED -> peer.say(new WireRecord.Commit());
                case WireBytes.RUNNING -> onRunning.accept(peer);
                default -> {}
              }
            })
        .say(hello(SESSION, 0, 1));
  }

  /** The lane: when it is greeted, the source goes on. */
  private ScriptedPeer lane(ScriptedPeer main, WireRecord... then) {
    return new ScriptedPeer(
            (peer, type) -> {
              if (type == WireBytes.HELLO) {
                main.say(then);
              }
            })
        .say(hello(SESSION, 1, 2));
  }

  private static WireRecord discard(long first, long pages) {
    return new Discard(0, List.of(new Discard.Run(first, pages)));
  }

  private MigrationException refusal(WireRecord... afterTheLane) {
    ScriptedPeer main = main(peer -> {});
    MigrationException failure = receive(main, lane(main, afterTheLane)).failure();
    assertThat(resumes).hasValue(0);
    assertThat(main.heardTypes()).endsWith(WireBytes.FAILURE);
    return failure;
  }

  private MigrationException refusalInPostcopy(Consumer<ScriptedPeer> onRunning) {
    ScriptedPeer main = main(onRunning);
    MigrationException failure =
        receive(main, lane(main, discard(0, PAGES), new WireRecord.PostcopyBegin(0, PAGES, 0)))
            .failure();
    assertThat(resumes).hasValue(1);
    assertThat(failure).hasMessageContaining("the guest runs here and lacks");
    return failure;
  }

  private static void assertSays(MigrationException e, Kind kind, String text) {
    assertThat(e.kind()).isEqualTo(kind);
    assertThat(e).hasMessageContaining(text);
  }

  @Test
  void aSourceThatDoesAsItShouldIsFollowed() {
    ScriptedPeer main =
        main(
            peer ->
                peer.say(
                    pages(PageKind.RAW, 0, 1, 2, 3, 4, 5, 6, 7),
                    pages(PageKind.ZERO, 8, 9, 10, 11, 12, 13, 14, 15),
                    new WireRecord.PostcopyEnd(PAGES, 0)));
    End end =
        receive(main, lane(main, discard(0, PAGES), new WireRecord.PostcopyBegin(0, PAGES, 0)));
    assertThat(end.error()).isNull();
    assertThat(main.heardTypes()).endsWith(38);
    assertThat(absentBy.absent()).isNull();
  }

  @Test
  void postcopyWithoutALaneIsRefused() {
    ScriptedPeer main =
        new ScriptedPeer(
                (peer, type) -> {
                  switch (type) {
                    case WireBytes.HELLO ->
                        peer.say(new WireRecord.Layout(memory.layout(), GEOMETRY));
                    case WireBytes.READY ->
                        peer.say(new WireRecord.PostcopyListen(), discard(0, PAGES));
                    default -> {}
                  }
                })
            .say(hello(SESSION, 0, 1));
    assertSays(
        receive(main).failure(),
        Kind.PROTOCOL,
        "says what is absent before the connection for requested pages is there");
  }

  @Test
  void discardsThatCannotBeAreRefused() {
    assertSays(refusal(discard(0, PAGES + 1)), Kind.PROTOCOL, "which has 16");
    assertSays(refusal(discard(Long.MAX_VALUE - 1, 1)), Kind.PROTOCOL, "which has 16");
    assertSays(refusal(discard(4, 4), discard(2, 1)), Kind.PROTOCOL, "of which it is past");
    assertSays(
        refusal(new Discard(1, List.of(new Discard.Run(0, 1)))),
        Kind.PROTOCOL,
        "block 1 of a layout of 1");
  }

  @Test
  void discardsOfHalfAPageOfTheHostAreRefused() {
    absentBy = PostcopyMemory.of(small);
    assertSays(refusal(discard(0, 4)), Kind.PROTOCOL, "no whole pages of 4096 bytes");
    assertSays(refusal(discard(4, 4)), Kind.PROTOCOL, "no whole pages of 4096 bytes");
  }

  @Test
  void aSourceThatLeavesAPageOutIsRefused() {
    assertSays(
        refusal(discard(0, 15), new WireRecord.PostcopyBegin(0, 15, 0)),
        Kind.INTEGRITY,
        "neither sent page 15 of block 'ram' nor said that it is absent");
    assertSays(
        refusal(discard(0, PAGES), new WireRecord.PostcopyBegin(0, 15, 0)),
        Kind.INTEGRITY,
        "15 pages are absent, but has named 16");
    assertSays(
        refusal(discard(0, PAGES), new WireRecord.PostcopyBegin(7, 16, 0)),
        Kind.INTEGRITY,
        "7 pages and 0 bytes of device state were sent, but 0 and 0 have arrived");
  }

  @Test
  void recordsOutOfTurnAreRefused() {
    assertSays(refusal(new WireRecord.PostcopyEnd(0, 0)), Kind.PROTOCOL, "out of turn");
    assertSays(refusal(new WireRecord.RoundBegin(2, false, 0)), Kind.PROTOCOL, "out of turn");
    assertSays(refusal(new WireRecord.PageRequest(0, 0, 1)), Kind.PROTOCOL, "out of turn");
    assertSays(refusal(new WireRecord.Commit()), Kind.PROTOCOL, "out of turn");
    assertSays(refusalInPostcopy(p -> p.say(discard(0, 1))), Kind.PROTOCOL, "out of turn");
  }

  @Test
  void aSourceThatClaimsToHaveSentWhatItHasNotIsRefused() {
    assertSays(
        refusalInPostcopy(
            p -> p.say(pages(PageKind.RAW, 0, 1), new WireRecord.PostcopyEnd(PAGES, 0))),
        Kind.INTEGRITY,
        "claims to have pushed 16 pages and sent 0 on request, but 2 and 0 have come");
    resumes.set(0);
    assertSays(
        refusalInPostcopy(p -> p.say(pages(PageKind.RAW, 0, 1), new WireRecord.PostcopyEnd(2, 0))),
        Kind.INTEGRITY,
        "14 of 16 are missing, from page 2 of block 'ram' on");
    resumes.set(0);
    assertSays(
        refusalInPostcopy(p -> p.say(pages(PageKind.RAW, 0, 1), new WireRecord.PostcopyEnd(2, 14))),
        Kind.INTEGRITY,
        "sent 14 on request");
  }

  @Test
  void pagesThatCannotBeInPostcopyAreRefused() {
    assertSays(
        refusalInPostcopy(p -> p.say(pages(PageKind.DELTA, 3))),
        Kind.PROTOCOL,
        "neither zero nor whole");
    resumes.set(0);
    assertSays(
        refusalInPostcopy(
            p -> {
              for (int i = 0; i < 3; i++) {
                p.say(pages(PageKind.ZERO, 0, 1, 2, 3, 4, 5, 6, 7));
              }
            }),
        Kind.PROTOCOL,
        "more than the 16 pages that were absent");
  }

  @Test
  void aPageOnTheLaneThatNobodyRequestedIsRefused() {
    ScriptedPeer[] both = new ScriptedPeer[1];
    ScriptedPeer main = main(peer -> both[0].say(pages(PageKind.RAW, 5)));
    ScriptedPeer lane = lane(main, discard(0, PAGES), new WireRecord.PostcopyBegin(0, PAGES, 0));
    both[0] = lane;
    assertSays(
        receive(main, lane).failure(),
        Kind.PROTOCOL,
        "page 5 of block 'ram' was sent on demand, but nobody asked for it");
  }

  @Test
  void somebodyElseWhoConnectsIsSentAwayAndTheLaneIsStillAwaited() {
    ScriptedPeer main =
        main(
            peer ->
                peer.say(
                    pages(PageKind.ZERO, 0, 1, 2, 3, 4, 5, 6, 7),
                    pages(PageKind.ZERO, 8, 9, 10, 11, 12, 13, 14, 15),
                    new WireRecord.PostcopyEnd(PAGES, 0)));
    ScriptedPeer another = new ScriptedPeer((p, type) -> {}).say(hello(new UUID(7, 7), 1, 2));
    ScriptedPeer silent = new ScriptedPeer((p, type) -> {});
    ScriptedPeer closed = ScriptedPeer.playing(new byte[0]).close();
    End end =
        receive(
            main,
            another,
            silent,
            closed,
            lane(main, discard(0, PAGES), new WireRecord.PostcopyBegin(0, PAGES, 0)));
    assertThat(end.error()).isNull();
    assertThat(another.heardTypes()).containsExactly(WireBytes.HELLO, WireBytes.FAILURE);
  }

  @Test
  void aSourceThatDoesNotConnectTheLaneIsGivenUp() {
    ScriptedPeer main = main(peer -> {});
    End end =
        End.of(
            IncomingMigration.of(
                    IncomingSpec.of(memory, guest, acceptor(List.of(main)))
                        .withPeerTimeout(Duration.ofMillis(100))
                        .withPostcopy(absentBy))
                .run());
    assertThat(end.failure().kind()).isEqualTo(Kind.TIMEOUT);
    assertThat(resumes).hasValue(0);
  }

  @Test
  void aGuestThatWaitsForAPageLearnsThatTheSourceIsLost() throws InterruptedException {
    List<Throwable> failures = new ArrayList<>();
    Thread[] reader = new Thread[1];
    onResume =
        () ->
            reader[0] =
                Thread.ofVirtual()
                    .start(
                        () -> {
                          try {
                            absentBy.require(0, 3 * 4096, 1);
                          } catch (RuntimeException e) {
                            failures.add(e);
                          }
                        });
    ScriptedPeer main = main(peer -> {});
    ScriptedPeer lane =
        new ScriptedPeer(
                (peer, type) -> {
                  if (type == WireBytes.HELLO) {
                    main.say(discard(0, PAGES), new WireRecord.PostcopyBegin(0, PAGES, 0));
                  } else if (type == 36) {
                    main.close();
                  }
                })
            .say(hello(SESSION, 1, 2));
    End end = receive(main, lane);
    assertSays(end.failure(), Kind.TRANSPORT, "the guest runs here and lacks 16 pages");
    reader[0].join();
    assertThat(failures).hasSize(1);
    assertThat(failures.getFirst())
        .hasMessageContaining("page 3 of block 'ram' is not here, and its source is lost");
  }
}
