package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import io.pageflux.wire.WireRecord.ResumePoint;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** What a destination may say that it has when a migration goes on, and what is owed then. */
class OutgoingStateTest {

  private static final BatchGeometry GEOMETRY = new BatchGeometry(8, 4096);

  private final RamLayout layout =
      new RamLayout(
          List.of(new RamBlockLayout("a", 16 * 512, 512), new RamBlockLayout("b", 4 * 512, 512)));
  private final OutgoingState state = new OutgoingState(layout);
  private final SlabPool pool = new SlabPool(1, GEOMETRY);

  @AfterEach
  void close() {
    pool.close();
  }

  private OutgoingRound begin() {
    long dirty = state.ledger.beginRound().cardinality();
    OutgoingRound round =
        new OutgoingRound(
            state.nextRound(), false, dirty, 0, new OutgoingStatistics.Kinds(0, 0, 0), 0);
    state.begin(round);
    return round;
  }

  private void read(OutgoingRound round, int block, long... pages) {
    PageBatch batch =
        new PageBatch(
            block,
            layout.blocks().get(block),
            Objects.requireNonNull(pool.tryAcquire()),
            GEOMETRY.headroomBytes(),
            GEOMETRY);
    for (long page : pages) {
      batch.append(page, PageKind.ZERO, 0);
    }
    round.read(batch);
    batch.release();
  }

  private void assertRefused(ResumePoint point, String why) {
    assertThatThrownBy(() -> state.resume(point))
        .isInstanceOfSatisfying(
            MigrationException.class, e -> assertThat(e.kind()).isEqualTo(Kind.PROTOCOL))
        .hasMessageContaining(why);
  }

  @Test
  void whatIsBeforeThePageIsSettledAndTheRestIsOwed() {
    OutgoingRound round = begin();
    read(round, 0, 0, 1, 2, 3);
    read(round, 0, 4, 5, 6, 7);
    state.ledger.dirty().of(0).add(2); // written meanwhile
    assertThat(state.resume(new ResumePoint(1, false, 0, 6))).isTrue();
    assertThat(state.ledger.owed()).isEqualTo(1 + 10 + 4);
    assertThat(state.ledger.dirty().of(0).contains(2)).isTrue();
    assertThat(state.ledger.dirty().of(0).contains(5)).isFalse();
    assertThat(state.ledger.dirty().of(0).contains(6)).isTrue();
    assertThat(state.nextRound()).isEqualTo(2);
  }

  @Test
  void aRoundThatIsCompleteIsSettledThoughItsAcknowledgementWasLost() {
    OutgoingRound round = begin();
    read(round, 1, 3);
    round.acknowledged.ask();
    state.ledger.dirty().of(1).add(0);
    state.resume(new ResumePoint(1, true, 0, 0));
    // All of it was dirty, and only its last batch was looked at here.
    assertThat(state.ledger.dirty().of(1).contains(0)).isTrue();
    assertThat(state.nextRound()).isEqualTo(2);
  }

  @Test
  void aRoundWhoseBeginningWasLostIsOwed() {
    OutgoingRound first = begin();
    read(first, 1, 3);
    first.acknowledged.ask();
    first.acknowledge(state.ledger);
    state.ledger.dirty().of(0).add(7);
    OutgoingRound second = begin();
    read(second, 0, 7);
    long owed = state.ledger.owed();
    state.resume(new ResumePoint(1, true, 0, 0));
    assertThat(state.ledger.owed()).isEqualTo(owed);
    assertThat(state.ledger.dirty().of(0).contains(7)).isTrue();
    assertThat(state.nextRound()).isEqualTo(2);
  }

  @Test
  void aDestinationWithNothingIsOwedEverything() {
    OutgoingRound round = begin();
    read(round, 0, 0, 1, 2, 3);
    assertThat(state.resume(ResumePoint.BEGINNING)).isFalse();
    assertThat(state.ledger.owed()).isEqualTo(20);
    assertThat(state.ledger.dirty().cardinality()).isEqualTo(20);
    assertThat(state.nextRound()).isEqualTo(1);
  }

  @Test
  void claimsThatCannotBeTrueAreRefused() {
    assertRefused(new ResumePoint(1, true, 0, 0), "0 were begun");
    OutgoingRound round = begin();
    read(round, 0, 0, 1, 2, 3);
    assertRefused(new ResumePoint(2, true, 0, 0), "1 were begun");
    assertRefused(new ResumePoint(1, true, 0, 0), "its end was not sent");
    assertRefused(new ResumePoint(1, false, 0, 5), "page 4 of block 0 was not sent");
    assertRefused(new ResumePoint(1, false, 1, 0), "of block 1 was not sent");
    assertRefused(new ResumePoint(1, false, 2, 0), "of block 2 was not sent");
    read(round, 1, 3);
    round.acknowledged.ask();
    round.acknowledge(state.ledger);
    assertRefused(new ResumePoint(1, false, 0, 3), "was acknowledged as a whole");
    begin();
    assertRefused(new ResumePoint(1, false, 0, 3), "was acknowledged as a whole");
    begin2();
    assertRefused(new ResumePoint(1, true, 0, 0), "3 were begun");
  }

  private void begin2() {
    state.ledger.acknowledge();
    begin();
  }
}
