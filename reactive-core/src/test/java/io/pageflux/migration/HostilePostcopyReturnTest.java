package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
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
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/** A destination that runs the guest, and to whom comes back what is not the source, or lies. */
@Timeout(60)
class HostilePostcopyReturnTest {

  private static final UUID SESSION = new UUID(1, 2);
  private static final BatchGeometry GEOMETRY = new BatchGeometry(8, 32 << 10);
  private static final int PAGES = 16;
  private static final int POSTCOPY_COMPLETE = 38;
  private static final int GUEST_RUNS = 39;

  private final GuestMemory memory = GuestMemory.builder().anonymous("ram", PAGES * 4096).build();
  private final PostcopyMemory absentBy = PostcopyMemory.of(memory);
  private final SlabPool slabs = new SlabPool(8, GEOMETRY);
  private final AtomicInteger resumes = new AtomicInteger();
  private final List<ScriptedPeer> peers = new ArrayList<>();

  /** When the first connection is lost: nobody comes back before. */
  private Sinks.Empty<Void> lost = Sinks.empty();

  private final Guest guest =
      new PassiveGuest() {
        @Override
        public Mono<Void> resume() {
          return Mono.fromRunnable(resumes::incrementAndGet);
        }
      };

  @AfterEach
  void nothingIsLeft() {
    Leftovers.assertNoThreads();
    assertThat(slabs.outstanding()).isZero();
    for (ScriptedPeer peer : peers) {
      assertThat(peer.unreleased).hasValue(0);
    }
    slabs.close();
    memory.close();
  }

  private static WireRecord.Hello hello(UUID session, int channel, int channels) {
    return new WireRecord.Hello(1, 1, Feature.all(), 0, session, channel, channels, "a test");
  }

  private WireRecord pages(long first, int count) {
    PageBatch batch =
        new PageBatch(
            0,
            memory.block(0).layout(),
            Objects.requireNonNull(slabs.tryAcquire()),
            GEOMETRY.headroomBytes(),
            GEOMETRY);
    for (long page = first; page < first + count; page++) {
      batch.append(page, PageKind.RAW, 4096);
    }
    batch.stored().fill((byte) 1);
    return new WireRecord.Pages(batch);
  }

  private static WireRecord discard(long first, long pages) {
    return new Discard(0, List.of(new Discard.Run(first, pages)));
  }

  /** Switches after a round with no page, sends half of the pages, and is lost. */
  private ScriptedPeer first() {
    return new ScriptedPeer(
            (peer, type) -> {
              switch (type) {
                case WireBytes.HELLO -> peer.say(new WireRecord.Layout(memory.layout(), GEOMETRY));
                case WireBytes.READY ->
                    peer.say(
                        new WireRecord.RoundBegin(1, false, PAGES),
                        new WireRecord.RoundEnd(1, 0, 0, 0));
                case WireBytes.ROUND_ACK -> peer.say(new WireRecord.PostcopyListen());
                case WireBytes.PREPARED -> peer.say(new WireRecord.Commit());
                case WireBytes.RUNNING -> {
                  peer.say(pages(0, 8)).close();
                  lost.tryEmitEmpty();
                }
                default -> {}
              }
            })
        .say(hello(SESSION, 0, 1));
  }

  private static ScriptedPeer lane(ScriptedPeer main, WireRecord... then) {
    return new ScriptedPeer(
            (peer, type) -> {
              if (type == WireBytes.HELLO) {
                main.say(then);
              }
            })
        .say(hello(SESSION, 1, 2));
  }

  /** Who comes back, and what he says when he has heard what is missing. */
  private ScriptedPeer again(UUID session, RamLayout layout, WireRecord... onReady) {
    return new ScriptedPeer(
            (peer, type) -> {
              switch (type) {
                case WireBytes.HELLO -> peer.say(new WireRecord.Layout(layout, GEOMETRY));
                case WireBytes.READY -> peer.say(onReady);
                case POSTCOPY_COMPLETE -> peer.say(new WireRecord.PostcopyComplete(PAGES)).close();
                default -> {}
              }
            })
        .say(hello(session, 0, 1));
  }

  private End receive(ScriptedPeer... later) {
    lost = Sinks.empty();
    ScriptedPeer main = first();
    List<ScriptedPeer> queue = new ArrayList<>();
    queue.add(main);
    queue.add(lane(main, discard(0, PAGES), new WireRecord.PostcopyBegin(0, PAGES, 0)));
    queue.addAll(List.of(later));
    peers.addAll(queue);
    resumes.set(0);
    End end =
        End.of(
            IncomingMigration.of(
                    IncomingSpec.of(memory, guest, acceptor(queue))
                        .withWorkers(1)
                        .withMaxGeometry(GEOMETRY)
                        .withPostcopy(absentBy)
                        .withResume(Duration.ofMillis(500)))
                .run());
    assertThat(resumes).hasValue(1);
    return end;
  }

  /** Peers in the order in which they connect, and then nobody. */
  private Acceptor acceptor(List<ScriptedPeer> queue) {
    AtomicInteger next = new AtomicInteger();
    Mono<Connection> taken =
        Mono.defer(
            () -> {
              int i = next.getAndIncrement();
              return i < queue.size() ? Mono.just(queue.get(i)) : Mono.never();
            });
    return new Acceptor() {
      @Override
      public Mono<Connection> accept() {
        return Mono.defer(() -> next.get() < 2 ? taken : lost.asMono().then(taken));
      }

      @Override
      public String address() {
        return "the script";
      }

      @Override
      public void dispose() {}
    };
  }

  /** The source itself, which sends what it heard to be missing. */
  private ScriptedPeer[] source() {
    ScriptedPeer main = again(SESSION, memory.layout(), new WireRecord.PostcopyListen());
    return new ScriptedPeer[] {
      main,
      lane(main, new WireRecord.PostcopyResume(8), pages(8, 8), new WireRecord.PostcopyEnd(8, 0))
    };
  }

  private void assertRefused(End end, String text) {
    assertThat(end.message()).contains(text, "the guest runs here and lacks 8 pages");
  }

  @Test
  void theSourceItselfIsToldWhatIsMissingAndFollowed() {
    ScriptedPeer[] source = source();
    assertThat(receive(source).error()).isNull();
    assertThat(source[0].heardTypes())
        .containsSubsequence(
            WireBytes.HELLO, GUEST_RUNS, 34, 32, WireBytes.READY, POSTCOPY_COMPLETE);
    assertThat(absentBy.absent()).isNull();
  }

  @Test
  void whoComesInItsPlaceIsToldNothingAndTheSourceIsStillAwaited() {
    ScriptedPeer stranger = again(new UUID(7, 7), memory.layout());
    ScriptedPeer[] source = source();
    assertThat(receive(stranger, source[0], source[1]).error()).isNull();
    assertThat(stranger.heardTypes()).doesNotContain(GUEST_RUNS).contains(WireBytes.FAILURE);
  }

  @Test
  void anotherLayoutIsRefused() {
    ScriptedPeer changed =
        again(SESSION, new RamLayout(List.of(new RamBlockLayout("ram", 8 * 4096, 4096))));
    MigrationException failure = receive(changed).failure();
    assertThat(changed.heardTypes()).doesNotContain(GUEST_RUNS).contains(WireBytes.FAILURE);
    assertThat(failure).hasMessageContaining("the guest runs here and lacks 8 pages");
  }

  @Test
  void whatBelongsToTheSwitchIsRefusedWhenItIsRepeated() {
    for (WireRecord record :
        List.of(
            discard(0, PAGES),
            new WireRecord.PostcopyBegin(0, PAGES, 0),
            new WireRecord.Commit(),
            new WireRecord.RoundBegin(2, false, 0),
            new WireRecord.PostcopyEnd(0, 0),
            new WireRecord.PostcopyComplete(PAGES),
            new WireRecord.PostcopyResume(8))) {
      ScriptedPeer peer = again(SESSION, memory.layout(), record);
      assertThat(receive(peer).message()).contains("the guest runs here and lacks 8 pages");
      assertThat(peer.heardTypes()).as(record.toString()).endsWith(WireBytes.FAILURE);
    }
  }

  @Test
  void aSourceThatMeansToSendSomethingElseIsRefused() {
    ScriptedPeer main = again(SESSION, memory.layout(), new WireRecord.PostcopyListen());
    assertThat(receive(main, lane(main, new WireRecord.PostcopyResume(9))).message())
        .contains("the guest runs here and lacks 8 pages");
    assertThat(main.heardTypes()).endsWith(WireBytes.FAILURE);
    ScriptedPeer less = again(SESSION, memory.layout(), new WireRecord.PostcopyListen());
    End end =
        receive(
            less,
            lane(
                less,
                new WireRecord.PostcopyResume(8),
                pages(0, 8), // Again those that came.
                new WireRecord.PostcopyEnd(8, 0)));
    assertThat(end.failure().kind()).isEqualTo(Kind.INTEGRITY);
    assertRefused(
        end, "claims to have sent everything, 8 pages, but 8 of 8 are missing, from page 8");
  }
}
