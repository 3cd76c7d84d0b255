package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException.Kind;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.fault.Fault;
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

/** A recorded migration, damaged in every possible place, and played to either side. */
@Timeout(120)
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class DamagedStreamTest {

  private static final Set<Kind> OF_DAMAGE =
      EnumSet.of(Kind.PROTOCOL, Kind.INTEGRITY, Kind.TRANSPORT);

  private final TinyGuest source = TinyGuest.atSource();
  private final TinyGuest destination = new TinyGuest();
  private byte[] there = {};
  private byte[] back = {};

  @BeforeAll
  void record() {
    InMemoryTransport transport = InMemoryTransport.create();
    TapedLine line = new TapedLine(transport.connector(), Fault.NONE, Fault.NONE);
    End[] ends = both(source.migrate(line.connector()), destination.receive(transport.acceptor()));
    assertThat(ends[0].error()).isNull();
    assertThat(ends[1].error()).isNull();
    assertThat(source.sameMemory(destination)).isTrue();
    there = line.there().bytes();
    back = line.back().bytes();
  }

  @AfterAll
  void close() {
    Leftovers.assertNoThreads();
    source.close();
    destination.close();
  }

  private static End[] both(Mono<MigrationInfo> out, Mono<MigrationInfo> in) {
    Mono<End> later = in.materialize().map(s -> new End(s.get(), s.getThrowable())).cache();
    later.subscribe();
    End outEnd = End.of(out);
    End inEnd = later.block(End.LIMIT);
    return new End[] {outEnd, inEnd == null ? new End(null, null) : inEnd};
  }

  @Test
  void theRecordingHasEveryKindOfRecordAndPage() {
    assertThat(WireBytes.records(there).stream().map(WireBytes.Span::type))
        .contains(
            WireBytes.HELLO,
            WireBytes.LAYOUT,
            WireBytes.ROUND_BEGIN,
            WireBytes.PAGES,
            WireBytes.ROUND_END,
            WireBytes.DEVICE_STATE,
            WireBytes.END,
            WireBytes.COMMIT);
    assertThat(WireBytes.records(back).stream().map(WireBytes.Span::type))
        .containsExactly(
            WireBytes.HELLO,
            WireBytes.READY,
            WireBytes.ROUND_ACK,
            WireBytes.ROUND_ACK,
            WireBytes.ROUND_ACK,
            WireBytes.PREPARED,
            WireBytes.RUNNING);
    InMemoryTransport transport = InMemoryTransport.create();
    source.reset();
    destination.clear();
    End[] ends =
        both(source.migrate(transport.connector()), destination.receive(transport.acceptor()));
    List<RoundReport> rounds = Objects.requireNonNull(ends[1].info()).rounds();
    assertThat(rounds).hasSize(3);
    assertThat(rounds.stream().mapToLong(RoundReport::zeroPages).sum()).isPositive();
    assertThat(rounds.stream().mapToLong(RoundReport::rawPages).sum()).isPositive();
    assertThat(rounds.stream().mapToLong(RoundReport::deltaPages).sum()).isPositive();
    CompressionStatistics compression = Objects.requireNonNull(ends[1].info()).compression();
    assertThat(Objects.requireNonNull(compression).batches()).isPositive();
    assertThat(compression.rawBatches()).isPositive();
  }

  @Test
  void aDestinationRefusesEveryTruncatedStream() {
    for (int length = 0; length < there.length; length++) {
      ScriptedPeer peer = ScriptedPeer.playing(Arrays.copyOf(there, length)).close();
      assertDestinationRefuses(peer, "cut off after byte " + length);
    }
  }

  @Test
  void aDestinationRefusesEveryDamagedByte() {
    for (int index = 0; index < there.length; index++) {
      ScriptedPeer peer = ScriptedPeer.playing(WireBytes.flipped(there, index));
      assertDestinationRefuses(peer, "damaged at byte " + index);
    }
  }

  private void assertDestinationRefuses(ScriptedPeer peer, String what) {
    destination.clear();
    End end = End.of(destination.receive(peer.acceptor()));
    assertThat(end.info()).as(what).isNull();
    assertThat(end.failure().kind()).as(what + ": " + end).isIn(OF_DAMAGE);
    assertThat(end.message()).as(what).doesNotContain("\n").doesNotContain("not released");
    assertThat(destination.resumes).as(what).hasValue(0);
    assertThat(peer.unreleased).as(what).hasValue(0);
  }

  @Test
  void aDestinationTakesTheStreamInPiecesOfAnySize() {
    for (int piece = 1; piece < 100; piece++) {
      ScriptedPeer peer = new ScriptedPeer((p, type) -> {});
      for (int from = 0; from < there.length; from += piece) {
        peer.sayBytes(Arrays.copyOfRange(there, from, Math.min(there.length, from + piece)));
      }
      destination.clear();
      End end = End.of(destination.receive(peer.acceptor()));
      assertThat(end.error()).as("pieces of " + piece).isNull();
      assertThat(source.sameMemory(destination)).isTrue();
      assertThat(destination.resumes).hasValue(1);
      assertThat(destination.loaded).isEqualTo(TinyGuest.DEVICE_STATE);
    }
  }

  @Test
  void aSourceIsNotFooledByTruncatedAnswers() {
    for (int length = 0; length < back.length; length++) {
      assertSourceKeepsItsGuest(answers(back, length), length, "cut off after byte " + length);
    }
  }

  @Test
  void aSourceIsNotFooledByDamagedAnswers() {
    for (int index = 0; index < back.length; index++) {
      ScriptedPeer peer = answers(WireBytes.flipped(back, index), back.length);
      assertSourceKeepsItsGuest(peer, index, "damaged at byte " + index);
    }
  }

  private void assertSourceKeepsItsGuest(ScriptedPeer peer, int where, String what) {
    source.reset();
    End end = End.of(source.migrate(peer.connector()));
    assertThat(end.info()).as(what).isNull();
    assertThat(end.failure().kind()).as(what + ": " + end).isIn(OF_DAMAGE);
    assertThat(end.message()).as(what).doesNotContain("\n").doesNotContain("not released");
    boolean committed = peer.heardTypes().contains(WireBytes.COMMIT);
    List<WireBytes.Span> records = WireBytes.records(back);
    assertThat(committed).as(what).isEqualTo(where >= records.getLast().from());
    assertThat(source.running).as(what).isEqualTo(!committed);
    assertThat(end.message().contains("stays paused here")).as(what).isEqualTo(committed);
    assertThat(peer.unreleased).as(what).hasValue(0);
  }

  /** Answers as the recorded destination did, when it did, up to a byte; then it closes. */
  private ScriptedPeer answers(byte[] stream, int length) {
    List<WireBytes.Span> records = WireBytes.records(back);
    int[] next = {0};
    return new ScriptedPeer(
        (peer, type) -> {
          switch (type) {
            case WireBytes.HELLO,
                WireBytes.LAYOUT,
                WireBytes.ROUND_END,
                WireBytes.END,
                WireBytes.COMMIT -> {
              WireBytes.Span span = records.get(next[0]++);
              int end = Math.min(span.to(), length);
              if (end > span.from()) {
                peer.sayBytes(Arrays.copyOfRange(stream, span.from(), end));
              }
              if (span.to() > length) {
                peer.close();
              }
            }
            default -> {}
          }
        });
  }
}
