package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.convergence.ConvergenceStep;
import io.pageflux.dirty.DirtyTrackers;
import io.pageflux.memory.GuestMemory;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.wire.WireLimits;
import io.pageflux.wire.WireRecord;
import java.lang.foreign.MemorySegment;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.publisher.Mono;

/** A destination that has an older copy is sent what differs. */
@Timeout(60)
class ReuseTest {

  private static final int PAGES = 5000;

  private final GuestMemory a = memory();
  private final GuestMemory b = memory();
  private final InMemoryTransport transport = InMemoryTransport.create();
  private final Random random = new Random(3);

  private static GuestMemory memory() {
    return GuestMemory.builder().anonymous("ram", PAGES << 12).memfd("vga", 32 << 10).build();
  }

  @AfterEach
  void nothingIsLeft() {
    Leftovers.assertNoThreads();
    assertThat(Leftovers.descriptors("userfaultfd")).isZero();
    transport.acceptor().dispose();
    a.close();
    b.close();
  }

  private void write(GuestMemory memory, int page) {
    byte[] noise = new byte[4096];
    random.nextBytes(noise);
    memory
        .block(0)
        .segment()
        .asSlice((long) page << 12, 4096)
        .copyFrom(MemorySegment.ofArray(noise));
  }

  private MigrationInfo migrate(OutgoingSpec out, IncomingSpec in) {
    return Objects.requireNonNull(
        Mono.zip(
                OutgoingMigration.of(out).run(),
                IncomingMigration.of(in).run(),
                (sent, had) -> sent)
            .block(Duration.ofSeconds(30)));
  }

  private OutgoingSpec from(GuestMemory memory, Guest guest) {
    return OutgoingSpec.of(memory, guest, transport.connector()).withCompression(null);
  }

  private IncomingSpec to(GuestMemory memory) {
    return IncomingSpec.of(memory, Guest.passive(), transport.acceptor());
  }

  private void assertSame() {
    for (int i = 0; i < 2; i++) {
      assertThat(a.block(i).segment().mismatch(b.block(i).segment())).isEqualTo(-1);
    }
  }

  @Test
  void theWayBackSendsWhatHasChangedMeanwhile() {
    for (int page = 0; page < PAGES; page++) {
      if (page % 5 != 4) {
        write(a, page);
      }
    }
    MigrationInfo there = migrate(from(a, Guest.passive()), to(b));
    assertSame();
    for (int i = 0; i < PAGES / 50; i++) {
      write(b, random.nextInt(PAGES));
    }
    MigrationInfo back = migrate(from(b, Guest.passive()), to(a).withReuse(true));
    assertSame();
    assertThat(back.ram().transferred()).isLessThan(there.ram().transferred() / 10);
    assertThat(back.steps()).anyMatch(step -> step.kind() == ConvergenceStep.Kind.REUSED);
    assertThat(back.ram().normal()).isLessThanOrEqualTo(PAGES / 50);
    MigrationInfo again =
        migrate(
            from(b, Guest.passive()).withTracker(DirtyTrackers::comparingHashes),
            to(a).withReuse(true));
    assertThat(again.ram().normal() + again.ram().duplicate()).isZero();
  }

  @Test
  void aGuestThatWritesMeanwhileArrivesWhole() {
    for (int page = 0; page < PAGES; page++) {
      write(a, page);
    }
    MemorySegment.copy(a.block(0).segment(), 0, b.block(0).segment(), 0, (long) PAGES << 12);
    for (int i = 0; i < 8; i++) {
      AtomicInteger running = new AtomicInteger();
      WritingGuest guest = new WritingGuest(a, running, new byte[0]);
      guest.start();
      OutgoingSpec out = from(a, guest).withMaxRounds(3).withDowntimeLimit(Duration.ZERO);
      migrate(
          i % 2 == 0 ? out : out.withTracker(DirtyTrackers::comparingHashes),
          to(b).withReuse(true));
      assertThat(guest.isRunning()).isFalse();
      assertSame();
    }
  }

  @Test
  void hashesThatDoNotFollowOneAnotherAreRefused() {
    UUID session = UUID.randomUUID();
    List<WireRecord.PageHashes> parts =
        Objects.requireNonNull(
            OlderCopy.hashes(a, session).cast(WireRecord.PageHashes.class).collectList().block());
    assertThat(parts).hasSize(3).last().satisfies(part -> assertThat(part.count()).isEqualTo(8));
    assertThat(parts.getFirst().count()).isEqualTo(WireLimits.MAX_HASHES);
    ReusedPages pages = new ReusedPages(a, session);
    assertRefused(pages, parts.get(1), "where page 0 of block 0 was to follow");
    pages.heard(parts.getFirst());
    assertRefused(pages, parts.getFirst(), "where page 4096 of block 0 was to follow");
    assertRefused(
        pages,
        new WireRecord.PageHashes(0, 4096, new byte[16 * (PAGES - 4096 + 1)]),
        "from page 4096 of block 0");
    assertThatThrownBy(
            () ->
                pages
                    .settle(
                        new DirtyLedger(a.layout()),
                        DirtyTrackers.comparingHashes(a),
                        reactor.core.scheduler.Schedulers.immediate())
                    .block())
        .isInstanceOf(MigrationException.class)
        .hasMessageContaining("page 4096 of block 0 and those behind it are missing");
    pages.heard(parts.get(1));
    pages.heard(parts.get(2));
    assertRefused(pages, parts.get(2), "where page 0 of block 2 was to follow");
    pages.close();
    pages.close();
    pages.heard(parts.getFirst());
  }

  private static void assertRefused(ReusedPages pages, WireRecord.PageHashes part, String why) {
    assertThatThrownBy(() -> pages.heard(part))
        .isInstanceOf(MigrationException.class)
        .hasMessageContaining(why);
  }
}
