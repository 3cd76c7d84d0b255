package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import java.util.List;
import org.junit.jupiter.api.Test;

class DirtyLedgerTest {

  private final RamLayout layout =
      new RamLayout(
          List.of(new RamBlockLayout("a", 100 * 4096, 4096), new RamBlockLayout("b", 4096, 4096)));

  @Test
  void atFirstEveryPageIsOwed() {
    assertThat(new DirtyLedger(layout).owed()).isEqualTo(101);
  }

  @Test
  void aPageIsOwedUntilItsRoundIsAcknowledged() {
    DirtyLedger ledger = new DirtyLedger(layout);
    assertThat(ledger.beginRound().cardinality()).isEqualTo(101);
    assertThat(ledger.dirty().isEmpty()).isTrue();
    assertThat(ledger.owed()).isEqualTo(101);
    ledger.acknowledge();
    assertThat(ledger.owed()).isZero();
  }

  @Test
  void aFailedRoundIsOwedAgainTogetherWithWhatBecameDirtyMeanwhile() {
    DirtyLedger ledger = new DirtyLedger(layout);
    ledger.beginRound();
    ledger.acknowledge();
    ledger.dirty().of(0).addRange(10, 20);
    ledger.beginRound();
    ledger.dirty().of(0).addRange(15, 25);
    ledger.dirty().of(1).add(0);
    ledger.rollBack();
    MemoryPages again = ledger.beginRound();
    assertThat(again.cardinality()).isEqualTo(16);
    assertThat(again.of(0).nextSet(0)).isEqualTo(10);
    assertThat(again.of(0).nextClear(10)).isEqualTo(25);
  }

  @Test
  void aRoundBeginsOnlyWhenTheOneBeforeIsSettled() {
    DirtyLedger ledger = new DirtyLedger(layout);
    ledger.beginRound();
    assertThatThrownBy(ledger::beginRound).isInstanceOf(IllegalStateException.class);
  }
}
