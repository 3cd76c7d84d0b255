package io.pageflux.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.codec.XbzrleSpec;
import io.pageflux.dirty.ReportedWrites;
import io.pageflux.memory.GuestMemory;
import io.pageflux.migration.CompressionSpec;
import io.pageflux.migration.Fault;
import io.pageflux.migration.FaultyTransport;
import io.pageflux.migration.Leftovers;
import io.pageflux.migration.ScriptedPeer;
import io.pageflux.migration.WireBytes;
import io.pageflux.page.BatchGeometry;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.InMemoryTransport;
import java.time.Duration;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.Timeout;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/** A recorded session, damaged in every possible place, and played to a destination. */
@Timeout(120)
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class CheckpointDamageTest {

  private static final Duration LIMIT = Duration.ofSeconds(30);
  private static final int PAGE = 512;
  private static final int CHECKPOINTS = 3;
  private static final BatchGeometry GEOMETRY = new BatchGeometry(3, 4096);
  private static final Set<Kind> OF_DAMAGE =
      EnumSet.of(Kind.PROTOCOL, Kind.INTEGRITY, Kind.TRANSPORT);

  private final WatchedGuest source = new WatchedGuest(memory(), false, 1).start();
  private final ReportedWrites tracker = new ReportedWrites(source.memory);
  private final WatchedGuest destination = new WatchedGuest(memory(), false, 2);
  private byte[] there = {};

  private static GuestMemory memory() {
    return GuestMemory.builder()
        .pageSize(PAGE)
        .anonymous("ram", 6 * PAGE)
        .anonymous("vga", PAGE)
        .build();
  }

  private void write(long checkpoint) {
    switch ((int) checkpoint) {
      case 1 -> {
        tracker.putLong(0, 600, 0x0102030405060708L);
        tracker.fill(0, 2 * PAGE, PAGE, (byte) 0);
        tracker.putLong(1, 8, 5);
      }
      case 2 -> {
        tracker.putLong(0, 700, 0x1112131415161718L);
        tracker.fill(0, 3 * PAGE, 2 * PAGE, (byte) 'x');
      }
      default -> {}
    }
  }

  @BeforeAll
  void record() {
    source.memory.block(0).segment().asSlice(PAGE, 2 * PAGE).fill((byte) 'a');
    source.memory.block(1).segment().fill((byte) 'v');
    InMemoryTransport transport = InMemoryTransport.create();
    FaultyTransport line = new FaultyTransport(transport.connector(), Fault.NONE, Fault.NONE);
    CheckpointTrigger trigger = new CheckpointTrigger();
    Sinks.Empty<Void> stop = Sinks.empty();
    OutgoingCheckpointSpec spec =
        OutgoingCheckpointSpec.of(source.memory, source, line.connector())
            .withTracker(memory -> tracker)
            .withInterval(null)
            .withTrigger(trigger)
            .withXbzrle(XbzrleSpec.DEFAULT.withCacheBytes(8192))
            .withCompression(new CompressionSpec(1, 1))
            .withStaging(GEOMETRY, 8L * GEOMETRY.slabBytes());
    Mono<Outcome> in = receive(transport.acceptor()).cache();
    in.subscribe();
    OutgoingCheckpoints.of(spec)
        .events(stop.asMono())
        .doOnNext(
            event -> {
              if (event instanceof CheckpointEvent.Acknowledged(CheckpointReport report)) {
                if (report.number() == CHECKPOINTS) {
                  stop.tryEmitEmpty();
                } else {
                  write(report.number());
                  trigger.request();
                }
              }
            })
        .blockLast(LIMIT);
    Outcome outcome = Objects.requireNonNull(in.block(LIMIT));
    assertThat(outcome.held()).isEqualTo(CHECKPOINTS);
    there = line.there().bytes();
    assertThat(source.snapshots).hasSize(CHECKPOINTS);
  }

  @AfterAll
  void close() {
    Leftovers.assertNoThreads();
    source.close();
    destination.close();
  }

  /** How a destination ended: with so many checkpoints, and for which reason. */
  private record Outcome(long held, MigrationException reason) {}

  private Mono<Outcome> receive(Acceptor acceptor) {
    return IncomingCheckpoints.of(
            IncomingCheckpointSpec.of(destination.memory, destination, acceptor)
                .withWorkers(1)
                .withStagingBytes(1 << 16))
        .events()
        .last()
        .map(
            event -> {
              CheckpointEvent.Ended ended = (CheckpointEvent.Ended) event;
              source.requireSame(ended.checkpoint(), destination.memory);
              return new Outcome(ended.checkpoint().number(), ended.reason());
            })
        .onErrorResume(MigrationException.class, e -> Mono.just(new Outcome(0, e)));
  }

  private Outcome play(ScriptedPeer peer, String what) {
    destination.memory.blocks().forEach(block -> block.segment().fill((byte) 0));
    Outcome outcome = Objects.requireNonNull(receive(peer.acceptor()).block(LIMIT), what);
    assertThat(peer.unreleased).as(what).hasValue(0);
    assertThat(destination.resumes).as(what).hasValue(0);
    assertThat(String.valueOf(outcome.reason.getMessage()))
        .as(what)
        .doesNotContain("\n")
        .doesNotContain("not released");
    return outcome;
  }

  /** The checkpoints whose END is within the first bytes. */
  private long complete(int bytes) {
    return WireBytes.records(there).stream()
        .filter(span -> span.type() == WireBytes.END && span.to() <= bytes)
        .count();
  }

  @Test
  void theRecordingHasThreeCheckpointsWithEveryKindOfRecord() {
    assertThat(complete(there.length)).isEqualTo(CHECKPOINTS);
    assertThat(WireBytes.records(there).stream().map(WireBytes.Span::type))
        .contains(
            WireBytes.ROUND_BEGIN,
            WireBytes.PAGES,
            WireBytes.ROUND_END,
            WireBytes.DEVICE_STATE,
            WireBytes.FAILURE);
  }

  @Test
  void whereverTheStreamEndsMemoryIsThatOfTheLastCheckpointThatHadEnded() {
    int failure = WireBytes.records(there).getLast().from();
    for (int length = 0; length < failure; length++) {
      String what = "cut off after byte " + length;
      Outcome outcome = play(ScriptedPeer.playing(Arrays.copyOf(there, length)).close(), what);
      assertThat(outcome.held).as(what).isEqualTo(complete(length));
      assertThat(outcome.reason.kind()).as(what).isIn(OF_DAMAGE);
    }
  }

  @Test
  void whateverIsDamagedMemoryIsThatOfACheckpointBeforeIt() {
    for (int index = 0; index < there.length; index++) {
      String what = "damaged at byte " + index;
      Outcome outcome = play(ScriptedPeer.playing(WireBytes.flipped(there, index)).close(), what);
      assertThat(outcome.held).as(what).isLessThanOrEqualTo(complete(index));
      assertThat(outcome.reason.kind()).as(what).isIn(OF_DAMAGE);
    }
  }

  @Test
  void roundsInAnotherOrderAreRefused() {
    List<WireBytes.Span> records = WireBytes.records(there);
    // A part of the stream is left out, and what follows has another number than is expected.
    for (int from = 2; from < records.size() - 1; from++) {
      WireBytes.Span left = records.get(from);
      byte[] shorter = new byte[there.length - (left.to() - left.from())];
      System.arraycopy(there, 0, shorter, 0, left.from());
      System.arraycopy(there, left.to(), shorter, left.from(), there.length - left.to());
      String what = "without record " + from + " of type " + left.type();
      Outcome outcome = play(ScriptedPeer.playing(shorter).close(), what);
      // One that has arrived, and was not acknowledged yet, may be thrown away.
      long complete = complete(left.from());
      assertThat(outcome.held).as(what).isBetween(Math.max(0, complete - 1), complete);
      assertThat(outcome.reason.kind()).as(what).isIn(OF_DAMAGE);
    }
  }
}
