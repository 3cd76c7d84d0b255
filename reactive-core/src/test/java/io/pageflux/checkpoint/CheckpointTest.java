package io.pageflux.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.codec.XbzrleSpec;
import io.pageflux.memory.GuestMemory;
import io.pageflux.migration.CompressionSpec;
import io.pageflux.migration.Leftovers;
import io.pageflux.migration.TapedLine;
import io.pageflux.page.BatchGeometry;
import io.pageflux.transport.Connector;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.fault.Fault;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.SplittableRandom;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Sinks;

/** A guest that writes all the time, and what its destination has of it. */
@Timeout(120)
class CheckpointTest {

  private static final int PAGE = 4096;
  private static final int PAGES = 96;
  private static final BatchGeometry GEOMETRY = new BatchGeometry(8, 8 * PAGE);

  private final WatchedGuest source = new WatchedGuest(memory(), true, 1).start();
  private final WatchedGuest destination = new WatchedGuest(memory(), false, 2);
  private final InMemoryTransport transport = InMemoryTransport.create();
  private final CheckpointTrigger trigger = new CheckpointTrigger();

  private static GuestMemory memory() {
    return GuestMemory.builder()
        .pageSize(PAGE)
        .anonymous("ram", (PAGES - 8L) * PAGE)
        .anonymous("vga", 8L * PAGE)
        .build();
  }

  @AfterEach
  void nothingIsLeft() {
    transport.acceptor().dispose();
    Leftovers.assertNoThreads();
    source.close();
    destination.close();
  }

  private OutgoingCheckpointSpec outgoing(Connector connector) {
    return OutgoingCheckpointSpec.of(source.memory, source, connector)
        .withTrigger(trigger)
        .withInterval(null)
        .withXbzrle(XbzrleSpec.DEFAULT.withCacheBytes((long) PAGES * PAGE))
        .withCompression(new CompressionSpec(1, 2))
        .withStaging(GEOMETRY, 64L * GEOMETRY.slabBytes());
  }

  private IncomingCheckpointSpec incoming() {
    return IncomingCheckpointSpec.of(destination.memory, destination, transport.acceptor())
        .withStagingBytes(2L * PAGES * PAGE);
  }

  /** One side of a session, which has been subscribed to. */
  private static final class Side {

    final List<CheckpointEvent> events = new CopyOnWriteArrayList<>();
    final CompletableFuture<@Nullable Void> end = new CompletableFuture<>();

    Side(Flux<CheckpointEvent> flux) {
      flux.subscribe(events::add, end::completeExceptionally, () -> end.complete(null));
    }

    @Nullable MigrationException failure() {
      try {
        end.get(60, TimeUnit.SECONDS);
        return null;
      } catch (ExecutionException e) {
        return (MigrationException) e.getCause();
      } catch (InterruptedException | TimeoutException e) {
        throw new AssertionError("it does not end: " + events, e);
      }
    }

    long acknowledged() {
      return events.stream().filter(CheckpointEvent.Acknowledged.class::isInstance).count();
    }

    CheckpointEvent.Ended ended() {
      assertThat(failure()).isNull();
      return (CheckpointEvent.Ended) events.getLast();
    }
  }

  /** Takes checkpoint after checkpoint. */
  private Flux<CheckpointEvent> taking(Flux<CheckpointEvent> events) {
    return events.doOnNext(
        event -> {
          if (event instanceof CheckpointEvent.Acknowledged) {
            trigger.request();
          }
        });
  }

  private Flux<CheckpointEvent> source(OutgoingCheckpointSpec spec, Sinks.Empty<Void> stop) {
    return taking(OutgoingCheckpoints.of(spec).events(stop.asMono()));
  }

  /** Compares memory with each checkpoint that comes in: it does not change meanwhile. */
  private Flux<CheckpointEvent> destination(IncomingCheckpointSpec spec) {
    return IncomingCheckpoints.of(spec)
        .events()
        .doOnNext(
            event -> {
              if (event instanceof CheckpointEvent.Ended ended) {
                source.requireSame(ended.checkpoint(), destination.memory);
              }
            });
  }

  private void runCheckpoints(OutgoingCheckpointSpec spec, int checkpoints) {
    Sinks.Empty<Void> stop = Sinks.empty();
    Side in = new Side(destination(incoming()));
    Side out =
        new Side(
            source(spec, stop)
                .doOnNext(
                    event -> {
                      if (event instanceof CheckpointEvent.Acknowledged(CheckpointReport report)
                          && report.number() == checkpoints) {
                        stop.tryEmitEmpty();
                      }
                    }));
    assertThat(out.failure()).isNull();
    assertThat(source.running).isTrue();
    assertThat(in.ended().checkpoint().number()).isGreaterThanOrEqualTo(checkpoints);
    assertThat(in.ended().reason().kind()).isEqualTo(Kind.CANCELLED);
    assertThat(in.ended().started()).isFalse();
    assertThat(out.acknowledged()).isGreaterThanOrEqualTo(checkpoints);
    assertThat(source.pauses.get()).isEqualTo(source.resumes.get());
  }

  @Test
  void theDestinationHasTheMemoryOfTheLastCheckpoint() {
    for (int checkpoints = 1; checkpoints <= 8; checkpoints++) {
      runCheckpoints(outgoing(transport.connector()), checkpoints);
      assertThat(destination.resumes).hasValue(0);
    }
  }

  @Test
  void aGuestThatWritesMoreThanIsStagedWaitsAndNoCheckpointIsTorn() {
    OutgoingCheckpointSpec tight =
        outgoing(transport.connector()).withStaging(GEOMETRY, 2L * GEOMETRY.slabBytes());
    runCheckpoints(tight.withMaxCopyRounds(1), 5);
  }

  @Test
  void deltasAreMadeToWhatTheCheckpointBeforeHasLeft() {
    Sinks.Empty<Void> stop = Sinks.empty();
    Side in = new Side(destination(incoming()));
    Side out =
        new Side(
            source(outgoing(transport.connector()), stop)
                .doOnNext(
                    event -> {
                      if (event instanceof CheckpointEvent.Acknowledged(CheckpointReport report)
                          && report.number() > 3
                          && report.deltaPages() > 0) {
                        stop.tryEmitEmpty();
                      }
                    }));
    assertThat(out.failure()).isNull();
    assertThat(in.ended().checkpoint().number()).isGreaterThan(3);
  }

  @Test
  void wheneverTheLineBreaksMemoryIsThatOfTheNewestAcknowledgedCheckpointOrTheNextOne() {
    SplittableRandom random = new SplittableRandom(20261123);
    int held = 0;
    for (int i = 0; i < 60; i++) {
      boolean answers = i % 3 == 2;
      long at = answers ? random.nextLong(20, 700) : random.nextLong(1, 400_000);
      Fault fault = i % 2 == 0 ? Fault.cutAfter(at) : Fault.endAfter(at);
      String what = "%s of what the %s says".formatted(fault, answers ? "destination" : "source");
      TapedLine line =
          new TapedLine(
              transport.connector(), answers ? Fault.NONE : fault, answers ? fault : Fault.NONE);
      Side in = new Side(destination(incoming().withFailOver(FailOver.START)));
      destination.resumes.set(0);
      destination.loaded.clear();
      Side out = new Side(source(outgoing(line.connector()), Sinks.empty()));
      MigrationException lost = Objects.requireNonNull(out.failure());
      assertThat(lost.kind()).as("%s: %s", what, lost).isEqualTo(Kind.TRANSPORT);
      assertThat(source.running).as(what).isTrue();
      MigrationException failure = in.failure();
      if (failure == null) {
        held++;
        CheckpointEvent.Ended ended = in.ended();
        assertThat(ended.checkpoint().number())
            .as(what)
            .isBetween(out.acknowledged(), out.acknowledged() + 1);
        assertThat(destination.resumes.get()).as(what).isEqualTo(ended.started() ? 1 : 0);
        if (ended.started()) {
          assertThat(destination.loaded).as(what).hasSize(1);
          destination.stop();
        }
      } else {
        assertThat(out.acknowledged()).as(what).isZero();
        assertThat(destination.resumes).as(what).hasValue(0);
      }
      assertThat(line.there().outstanding()).as(what).isZero();
      assertThat(line.back().outstanding()).as(what).isZero();
    }
    assertThat(held).isBetween(10, 59);
  }

  @Test
  void aLostSourceIsTakenOverFromOnlyIfThatWasAskedFor() {
    for (FailOver failOver : FailOver.values()) {
      TapedLine line = new TapedLine(transport.connector(), Fault.NONE, Fault.NONE);
      Sinks.Empty<Void> broken = Sinks.empty();
      Side in = new Side(destination(incoming().withFailOver(failOver)));
      Connector breaking =
          () ->
              line.connector()
                  .connect()
                  .doOnNext(made -> broken.asMono().subscribe(v -> {}, e -> {}, made::dispose));
      Side out =
          new Side(
              source(outgoing(breaking), Sinks.empty())
                  .doOnNext(
                      event -> {
                        if (event instanceof CheckpointEvent.Acknowledged) {
                          broken.tryEmitEmpty();
                        }
                      }));
      assertThat(Objects.requireNonNull(out.failure()).kind()).isEqualTo(Kind.TRANSPORT);
      assertThat(in.ended().started()).isEqualTo(failOver == FailOver.START);
      assertThat(destination.running).isEqualTo(failOver == FailOver.START);
    }
    destination.stop();
  }

  @Test
  void aDestinationThatIsStoppedStartsNothingAndTheSourceGoesOn() {
    Sinks.Empty<Void> stop = Sinks.empty();
    Side in =
        new Side(
            IncomingCheckpoints.of(incoming().withFailOver(FailOver.START))
                .events(stop.asMono())
                .doOnNext(
                    event -> {
                      if (event instanceof CheckpointEvent.Held held && held.number() == 2) {
                        stop.tryEmitEmpty();
                      }
                    }));
    Side out = new Side(source(outgoing(transport.connector()), Sinks.empty()));
    assertThat(Objects.requireNonNull(out.failure()).isFromPeer()).isTrue();
    assertThat(source.running).isTrue();
    source.requireSame(in.ended().checkpoint(), destination.memory);
    assertThat(in.ended().started()).isFalse();
    assertThat(destination.running).isFalse();
  }

  @Test
  void whoeverCancelsLeavesNothingBehind() throws InterruptedException {
    for (int i = 0; i < 6; i++) {
      java.util.concurrent.CountDownLatch second = new java.util.concurrent.CountDownLatch(2);
      Flux<CheckpointEvent> events =
          source(outgoing(transport.connector()), Sinks.empty())
              .doOnNext(
                  event -> {
                    if (event instanceof CheckpointEvent.Acknowledged) {
                      second.countDown();
                    }
                  });
      if (i % 2 == 0) {
        Side in = new Side(destination(incoming()));
        reactor.core.Disposable out = events.subscribe(event -> {}, e -> {});
        second.await();
        out.dispose();
        assertThat(in.ended().checkpoint().number()).isGreaterThanOrEqualTo(2);
      } else {
        reactor.core.Disposable in = destination(incoming()).subscribe(event -> {}, e -> {});
        Side out = new Side(events);
        second.await();
        in.dispose();
        assertThat(out.failure()).isNotNull();
      }
      Leftovers.assertNoThreads();
      assertThat(source.running).isTrue();
    }
  }

  @Test
  void aGuestThatRefusesEndsTheSessionAndTheReasonIsTold() {
    for (String refusal : List.of("pause", "save")) {
      Side in = new Side(destination(incoming()));
      source.refusal = null;
      Side out =
          new Side(
              source(outgoing(transport.connector()), Sinks.empty())
                  .doOnNext(
                      event -> {
                        if (event instanceof CheckpointEvent.Acknowledged) {
                          source.refusal = refusal;
                        }
                      }));
      MigrationException failure = Objects.requireNonNull(out.failure());
      assertThat(failure.kind()).isEqualTo(Kind.GUEST);
      assertThat(failure).hasMessageContaining("it will not " + refusal);
      assertThat(in.ended().reason()).hasMessageContaining("it will not " + refusal);
      assertThat(source.running).as(refusal).isTrue();
    }
  }

  @Test
  void aGuestThatDoesNotGoOnIsToldOf() {
    Side in = new Side(destination(incoming()));
    source.refusal = null;
    Side out =
        new Side(
            source(outgoing(transport.connector()), Sinks.empty())
                .doOnNext(
                    event -> {
                      if (event instanceof CheckpointEvent.Acknowledged) {
                        source.refusal = "resume";
                      }
                    }));
    assertThat(Objects.requireNonNull(out.failure()))
        .hasMessageContaining("it will not resume")
        .hasMessageContaining("stays paused");
    assertThat(source.running).isFalse();
    in.ended();
  }

  @Test
  void aCheckpointThatDoesNotFitTheDestinationsStagingIsRefused() {
    Side in = new Side(IncomingCheckpoints.of(incoming().withStagingBytes(2 * PAGE)).events());
    Side out =
        new Side(source(outgoing(transport.connector()).withMaxCopyRounds(1), Sinks.empty()));
    MigrationException there = Objects.requireNonNull(out.failure());
    assertThat(there.isFromPeer()).isTrue();
    assertThat(there).hasMessageContaining("more than the 8192 bytes");
    assertThat(source.running).isTrue();
    MigrationException here = in.failure();
    if (here == null) { // The guest had written little before the first checkpoints.
      source.requireSame(in.ended().checkpoint(), destination.memory);
    } else {
      assertThat(here).hasMessageContaining("more than the 8192 bytes");
    }
  }

  @Test
  void aSessionAfterAFailedOneHasEverything() {
    TapedLine line = new TapedLine(transport.connector(), Fault.cutAfter(250_000), Fault.NONE);
    Side in = new Side(destination(incoming()));
    Side out = new Side(source(outgoing(line.connector()), Sinks.empty()));
    assertThat(out.failure()).isNotNull();
    in.failure();
    runCheckpoints(outgoing(transport.connector()), 2);
  }

  @Test
  void checkpointsAreTakenAtAnInterval() {
    Sinks.Empty<Void> stop = Sinks.empty();
    Side in = new Side(destination(incoming()));
    Side out =
        new Side(
            OutgoingCheckpoints.of(
                    outgoing(transport.connector()).withInterval(Duration.ofMillis(5)))
                .events(stop.asMono())
                .doOnNext(
                    event -> {
                      if (event instanceof CheckpointEvent.Acknowledged(CheckpointReport report)
                          && report.number() == 4) {
                        stop.tryEmitEmpty();
                      }
                    }));
    assertThat(out.failure()).isNull();
    assertThat(in.ended().checkpoint().number()).isGreaterThanOrEqualTo(4);
  }
}
