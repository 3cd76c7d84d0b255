package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.convergence.LimitPolicy;
import io.pageflux.convergence.PostcopyPolicy;
import io.pageflux.memory.GuestMemory;
import io.pageflux.page.BatchGeometry;
import io.pageflux.postcopy.PostcopyMemory;
import io.pageflux.postcopy.PostcopyStatistics;
import io.pageflux.transport.InMemoryTransport;
import java.time.Duration;
import java.util.Objects;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** A guest that runs at the destination before all of its pages are there. */
@Timeout(60)
class PostcopyMigrationTest {

  private static final Duration LIMIT = Duration.ofSeconds(30);

  private final long seed = System.nanoTime();
  private final GuestMemory source = memory();
  private final GuestMemory destination = memory();
  private final VersionedGuest.Truth truth = new VersionedGuest.Truth(source);
  private final VersionedGuest guest =
      new VersionedGuest(PostcopyMemory.of(source), truth, seed);
  private final PostcopyMemory absentBy = PostcopyMemory.of(destination);
  private final VersionedGuest newGuest = new VersionedGuest(absentBy, truth, seed + 99);
  private final InMemoryTransport transport = InMemoryTransport.create();

  private static GuestMemory memory() {
    return GuestMemory.builder().anonymous("ram", 6 << 20).memfd("vga", 1 << 20).build();
  }

  @AfterEach
  void nothingIsLeft() {
    guest.stop();
    newGuest.stop();
    Leftovers.assertNoThreads();
    assertThat(Leftovers.descriptors("userfaultfd")).isZero();
    transport.acceptor().dispose();
    source.close();
    destination.close();
  }

  private OutgoingSpec outgoing() {
    return OutgoingSpec.of(source, guest, transport.connector())
        .withGeometry(new BatchGeometry(16, 64 << 10))
        .withSlabs(4)
        .withPostcopy(OutgoingPostcopySpec.DEFAULT)
        .withDowntimeLimit(Duration.ZERO)
        .withPolicy(PostcopyPolicy.after(LimitPolicy::new, 1, Duration.ofHours(1)));
  }

  private IncomingSpec incoming() {
    return IncomingSpec.of(destination, newGuest, transport.acceptor()).withPostcopy(absentBy);
  }

  private record Both(MigrationInfo out, MigrationInfo in) {}

  private Both migrate(Flux<MigrationEvent> out) {
    Both both =
        Mono.zip(MigrationRun.result(out), IncomingMigration.of(incoming()).run(), Both::new)
            .block(LIMIT);
    return Objects.requireNonNull(both);
  }

  private static PostcopyStatistics postcopy(MigrationInfo info) {
    return Objects.requireNonNull(info.postcopy(), "no post-copy");
  }

  @Test
  void theGuestRunsOnAtTheDestinationBeforeItsPagesAreThere() {
    guest.fill();
    guest.start();
    Both both = migrate(OutgoingMigration.of(outgoing()).events());
    assertThat(guest.running).isFalse();
    assertThat(newGuest.running).isTrue();
    newGuest.stop();
    newGuest.verify();
    PostcopyStatistics sent = postcopy(both.out());
    PostcopyStatistics had = postcopy(both.in());
    assertThat(both.out().status()).isEqualTo(MigrationStatus.COMPLETED);
    assertThat(sent.absentPages()).isEqualTo(had.absentPages()).isPositive();
    assertThat(sent.pushedPages() + sent.demandedPages()).isEqualTo(sent.absentPages());
    assertThat(had.pushedPages()).isEqualTo(sent.pushedPages());
    assertThat(had.demandedPages()).isEqualTo(sent.demandedPages());
    assertThat(sent.requests()).isEqualTo(had.requests());
  }
}
