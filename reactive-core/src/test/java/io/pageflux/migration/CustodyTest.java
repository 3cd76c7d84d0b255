package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.dirty.DirtyTracker;
import io.pageflux.memory.MemoryPages;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.wire.Feature;
import io.pageflux.wire.WireRecord;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.reactivestreams.Subscription;
import reactor.core.Disposable;
import reactor.core.publisher.BaseSubscriber;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/**
 * Guests, trackers, transports and subscribers that do what they should not, or at a bad moment.
 */
@Timeout(60)
class CustodyTest {

  private static final WireRecord.Hello HELLO =
      new WireRecord.Hello(1, 1, Feature.all(), 0, new UUID(1, 2), 0, 1, "a test");

  private final TinyGuest source = TinyGuest.atSource();
  private final TinyGuest destination = new TinyGuest();
  private final InMemoryTransport transport = InMemoryTransport.create();

  @AfterEach
  void nothingIsLeft() {
    transport.acceptor().dispose();
    Leftovers.assertNoThreads();
    source.close();
    destination.close();
  }

  /** A guest that notes what is done with it. */
  private static class NotingGuest extends PassiveGuest {
    final List<String> notes = new CopyOnWriteArrayList<>();

    @Override
    public Mono<Void> pause() {
      return Mono.fromRunnable(() -> notes.add("paused"));
    }

    @Override
    public Mono<Void> resume() {
      return Mono.fromRunnable(() -> notes.add("resumed"));
    }
  }

  private OutgoingSpec outgoing(Guest guest) {
    return with(guest, source.outgoing(transport.connector()));
  }

  private static OutgoingSpec with(Guest guest, OutgoingSpec spec) {
    return spec.withGuest(guest);
  }

  private Mono<MigrationInfo> receiving() {
    return destination.receive(transport.acceptor());
  }

  private static Mono<End> begin(Mono<MigrationInfo> migration) {
    Mono<End> end = migration.materialize().map(s -> new End(s.get(), s.getThrowable())).cache();
    end.subscribe();
    return end;
  }

  private static End await(Mono<End> end) {
    End ended = end.block(End.LIMIT);
    if (ended == null) {
      throw new AssertionError("no end");
    }
    return ended;
  }

  /** A source that has said everything up to the commit. */
  private ScriptedPeer committing() {
    return new ScriptedPeer((p, type) -> {})
        .say(
            HELLO,
            new WireRecord.Layout(destination.memory.layout(), TinyGuest.GEOMETRY),
            new WireRecord.RoundBegin(1, true, 0),
            new WireRecord.RoundEnd(1, 0, 0, 0),
            new WireRecord.End(0, 0),
            new WireRecord.Commit());
  }

  // The destination starts its guest.

  @Test
  void aGuestThatIsBeingStartedStartsThoughTheConnectionBreaks() {
    ScriptedPeer peer = committing();
    AtomicBoolean interrupted = new AtomicBoolean();
    Guest slow =
        new PassiveGuest() {
          @Override
          public Mono<Void> resume() {
            return Mono.fromRunnable(
                () -> {
                  peer.close().dispose();
                  interrupted.set(Thread.interrupted());
                });
          }
        };
    End end =
        End.of(
            IncomingMigration.of(IncomingSpec.of(destination.memory, slow, peer.acceptor())).run());
    assertThat(end.error()).isNull();
    assertThat(interrupted).isFalse();
  }

  @Test
  void aGuestThatIsBeingStartedStartsThoughSomebodyCancels() {
    ScriptedPeer peer = committing();
    CountDownLatch starting = new CountDownLatch(1);
    Sinks.Empty<Void> started = Sinks.empty();
    AtomicBoolean cancelled = new AtomicBoolean();
    Guest slow =
        new PassiveGuest() {
          @Override
          public Mono<Void> resume() {
            return started
                .asMono()
                .doOnSubscribe(s -> starting.countDown())
                .doOnCancel(() -> cancelled.set(true));
          }
        };
    Disposable migration =
        IncomingMigration.of(IncomingSpec.of(destination.memory, slow, peer.acceptor()))
            .events()
            .subscribe();
    awaitLatch(starting);
    migration.dispose();
    started.tryEmitEmpty();
    peer.onDispose().block(End.LIMIT);
    assertThat(cancelled).isFalse();
    assertThat(peer.heardTypes()).endsWith(WireBytes.RUNNING);
  }

  @Test
  void aStopWhileTheGuestIsBeingStartedIsTooLate() {
    Sinks.Empty<Void> stop = Sinks.empty();
    ScriptedPeer peer = committing();
    Guest guest =
        new PassiveGuest() {
          @Override
          public Mono<Void> resume() {
            return Mono.fromRunnable(stop::tryEmitEmpty);
          }
        };
    IncomingMigration in =
        IncomingMigration.of(IncomingSpec.of(destination.memory, guest, peer.acceptor()));
    assertThat(End.of(MigrationRun.result(in.events(stop.asMono()))).error()).isNull();
  }

  @Test
  void aSourceIsNotBlamedForItsSilenceWhileNobodyListens() {
    Duration patience = Duration.ofMillis(100);
    Guest slow =
        new PassiveGuest() {
          @Override
          public Mono<Void> loadDeviceState(Flux<byte[]> pieces) {
            return Mono.delay(patience.multipliedBy(6)).then();
          }
        };
    Mono<End> in =
        begin(
            IncomingMigration.of(
                    IncomingSpec.of(destination.memory, slow, transport.acceptor())
                        .withPeerTimeout(patience))
                .run());
    End out =
        End.of(source.migrate(source.outgoing(transport.connector()).withPeerTimeout(patience)));
    assertThat(out.error()).isNull();
    assertThat(await(in).error()).isNull();
  }

  // The source pauses its guest, and fails.

  @Test
  void aGuestThatIsBeingPausedIsResumedWhenItIsPaused() {
    Sinks.Empty<Void> paused = Sinks.empty();
    Sinks.Empty<Void> stop = Sinks.empty();
    NotingGuest guest =
        new NotingGuest() {
          @Override
          public Mono<Void> pause() {
            return paused
                .asMono()
                .doOnSubscribe(s -> stop.tryEmitEmpty())
                .doOnSuccess(nothing -> notes.add("paused"))
                .doOnCancel(() -> notes.add("cancelled"));
          }
        };
    Mono<End> in = begin(receiving());
    Mono<End> out =
        begin(MigrationRun.result(OutgoingMigration.of(outgoing(guest)).events(stop.asMono())));
    stop.asMono().block(End.LIMIT);
    assertThat(guest.notes).isEmpty();
    paused.tryEmitEmpty();
    assertThat(await(out).failure().kind()).isEqualTo(Kind.CANCELLED);
    assertThat(await(in).failure().kind()).isEqualTo(Kind.CANCELLED);
    assertThat(guest.notes).containsExactly("paused", "resumed");
  }

  @Test
  void aGuestThatIsBeingPausedIsResumedThoughNobodyListens() {
    Sinks.Empty<Void> paused = Sinks.empty();
    CountDownLatch pausing = new CountDownLatch(1);
    CountDownLatch resumed = new CountDownLatch(1);
    NotingGuest guest =
        new NotingGuest() {
          @Override
          public Mono<Void> pause() {
            return paused
                .asMono()
                .doOnSubscribe(s -> pausing.countDown())
                .doOnSuccess(nothing -> notes.add("paused"));
          }

          @Override
          public Mono<Void> resume() {
            return super.resume().doOnSuccess(nothing -> resumed.countDown());
          }
        };
    Mono<End> in = begin(receiving());
    Disposable migration = OutgoingMigration.of(outgoing(guest)).events().subscribe();
    awaitLatch(pausing);
    migration.dispose();
    paused.tryEmitEmpty();
    awaitLatch(resumed);
    assertThat(guest.notes).containsExactly("paused", "resumed");
    assertThat(await(in).failure().kind()).isEqualTo(Kind.CANCELLED);
  }

  @Test
  void aPauseIsNotInterruptedWhenTheConnectionBreaks() {
    AtomicReference<Connection> line = new AtomicReference<>();
    NotingGuest guest =
        new NotingGuest() {
          @Override
          public Mono<Void> pause() {
            return Mono.fromRunnable(
                () -> {
                  line.get().dispose();
                  notes.add(Thread.interrupted() ? "interrupted" : "paused");
                });
          }
        };
    Mono<End> in = begin(receiving());
    OutgoingSpec spec =
        source.outgoing(
            () -> transport.connector().connect().map(c -> (Connection) c).doOnNext(line::set));
    End out = End.of(OutgoingMigration.of(with(guest, spec)).run());
    assertThat(out.failure().kind()).isEqualTo(Kind.TRANSPORT);
    await(in);
    assertThat(guest.notes).containsExactly("paused", "resumed");
  }

  @Test
  void aPauseThatNeverEndsIsGivenUpWithTheMigration() {
    Sinks.Empty<Void> stop = Sinks.empty();
    NotingGuest guest =
        new NotingGuest() {
          @Override
          public Mono<Void> pause() {
            return Mono.<Void>never()
                .doOnSubscribe(s -> stop.tryEmitEmpty())
                .doOnCancel(() -> notes.add("cancelled"));
          }
        };
    Mono<End> in = begin(receiving());
    OutgoingSpec spec = outgoing(guest).withPeerTimeout(Duration.ofMillis(200));
    End out = End.of(MigrationRun.result(OutgoingMigration.of(spec).events(stop.asMono())));
    assertThat(out.failure().kind()).isEqualTo(Kind.CANCELLED);
    await(in);
    assertThat(guest.notes).containsExactly("cancelled", "resumed");
  }

  @Test
  void aGuestMayBlockWhereItIsSubscribedTo() {
    Guest blocking =
        new PassiveGuest() {
          @Override
          public Mono<Void> pause() {
            return Mono.fromRunnable(() -> Mono.delay(Duration.ofMillis(1)).block());
          }

          @Override
          public Mono<Void> resume() {
            return pause();
          }

          @Override
          public Flux<byte[]> saveDeviceState() {
            return Flux.defer(
                () -> Flux.just(new byte[Objects.requireNonNull(Mono.just(4).block())]));
          }

          @Override
          public Mono<Void> loadDeviceState(Flux<byte[]> pieces) {
            return pieces.then(pause());
          }
        };
    Mono<End> in =
        begin(
            IncomingMigration.of(
                    IncomingSpec.of(destination.memory, blocking, transport.acceptor()))
                .run());
    assertThat(End.of(OutgoingMigration.of(outgoing(blocking)).run()).error()).isNull();
    assertThat(await(in).error()).isNull();
  }

  @Test
  void aGuestThatDoesNotGoOnIsSpokenOf() {
    NotingGuest guest =
        new NotingGuest() {
          @Override
          public Flux<byte[]> saveDeviceState() {
            throw new IllegalStateException("a device is on fire");
          }

          @Override
          public Mono<Void> resume() {
            throw new IllegalStateException("it is burnt down");
          }
        };
    Mono<End> in = begin(receiving());
    End out = End.of(OutgoingMigration.of(outgoing(guest)).run());
    assertThat(out.failure().kind()).isEqualTo(Kind.GUEST);
    assertThat(out.message())
        .isEqualTo(
            "the guest could not give its device state: a device is on fire; and it stays paused:"
                + " the guest could not go on: it is burnt down");
    assertThat(await(in).message()).endsWith("a device is on fire");
  }

  @Test
  void aPauseThatThrowsIsTheGuestsFailure() {
    NotingGuest guest =
        new NotingGuest() {
          @Override
          public Mono<Void> pause() {
            throw new IllegalStateException("no");
          }
        };
    Mono<End> in = begin(receiving());
    End out = End.of(OutgoingMigration.of(outgoing(guest)).run());
    assertThat(out.failure().kind()).isEqualTo(Kind.GUEST);
    assertThat(out.message()).isEqualTo("the guest could not pause: no");
    assertThat(await(in).failure().kind()).isEqualTo(Kind.GUEST);
    assertThat(guest.notes).containsExactly("resumed");
  }

  // Trackers.

  private static class BrokenTracker implements DirtyTracker {
    final AtomicInteger closes = new AtomicInteger();
    boolean startFails;

    @Override
    public String name() {
      return "broken";
    }

    @Override
    public void start() {
      if (startFails) {
        throw MigrationException.of(Kind.TRACKING, "cannot be tracked");
      }
    }

    @Override
    public long collect(MemoryPages into) {
      throw MigrationException.of(Kind.TRACKING, "no longer tracked");
    }

    @Override
    public void close() {
      closes.incrementAndGet();
    }
  }

  @Test
  void aTrackerThatFailsEndsTheMigrationAndIsClosed() {
    for (boolean startFails : new boolean[] {true, false}) {
      source.reset();
      BrokenTracker tracker = new BrokenTracker();
      tracker.startFails = startFails;
      Mono<End> in = begin(receiving());
      End out =
          End.of(
              source.migrate(
                  source.outgoing(transport.connector()).withTracker(memory -> tracker)));
      assertThat(out.failure().kind()).isEqualTo(Kind.TRACKING);
      assertThat(await(in).failure().kind()).isEqualTo(Kind.TRACKING);
      assertThat(tracker.closes).hasPositiveValue();
      assertThat(source.running).isTrue();
    }
  }

  @Test
  void whatFailsBeforeAnythingWasOpenedIsToldLikeAnyFailure() {
    OutgoingSpec spec =
        source
            .outgoing(transport.connector())
            .withTracker(
                memory -> {
                  throw MigrationException.of(Kind.TRACKING, "there is none");
                });
    List<MigrationEvent> events = new ArrayList<>();
    End out =
        End.of(MigrationRun.result(OutgoingMigration.of(spec).events().doOnNext(events::add)));
    assertThat(out.message()).isEqualTo("there is none");
    assertThat(events)
        .containsExactly(
            new MigrationEvent.StatusChanged(MigrationStatus.SETUP),
            new MigrationEvent.StatusChanged(MigrationStatus.FAILED));
  }

  @Test
  void whatIsOpenedWhileSomebodyCancelsIsClosed() {
    CountDownLatch opening = new CountDownLatch(1);
    CountDownLatch cancelled = new CountDownLatch(1);
    CountDownLatch closed = new CountDownLatch(1);
    DirtyTracker tracker =
        new BrokenTracker() {
          @Override
          public void close() {
            closed.countDown();
          }
        };
    Disposable migration =
        OutgoingMigration.of(
                source
                    .outgoing(transport.connector())
                    .withTracker(
                        memory -> {
                          opening.countDown();
                          awaitLatch(cancelled);
                          return tracker;
                        }))
            .events()
            .subscribe();
    awaitLatch(opening);
    migration.dispose();
    cancelled.countDown();
    awaitLatch(closed);
  }

  private static void awaitLatch(CountDownLatch latch) {
    try {
      assertThat(latch.await(20, TimeUnit.SECONDS)).isTrue();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  // Connecting.

  @Test
  void aStopWhileConnectingIsHeard() {
    Sinks.Empty<Void> stop = Sinks.empty();
    AtomicBoolean cancelled = new AtomicBoolean();
    OutgoingSpec spec =
        source.outgoing(
            () ->
                Mono.<Connection>never()
                    .doOnSubscribe(s -> stop.tryEmitEmpty())
                    .doOnCancel(() -> cancelled.set(true)));
    End out = End.of(MigrationRun.result(OutgoingMigration.of(spec).events(stop.asMono())));
    assertThat(out.failure().kind()).isEqualTo(Kind.CANCELLED);
    assertThat(cancelled).isTrue();
    assertThat(source.pauses).hasValue(0);
  }

  @Test
  void aConnectionThatComesTooLateIsClosed() {
    for (boolean incoming : new boolean[] {true, false}) {
      Sinks.Empty<Void> stop = Sinks.empty();
      InMemoryTransport.Pair pair = InMemoryTransport.pair();
      // Made at the moment of the stop, and handed over after it.
      Mono<Connection> late =
          Mono.fromDirect(
              subscriber ->
                  subscriber.onSubscribe(
                      new BaseSubscription() {
                        @Override
                        public void request(long n) {
                          stop.tryEmitEmpty();
                          subscriber.onNext(pair.first());
                          subscriber.onComplete();
                        }
                      }));
      Flux<MigrationEvent> events =
          incoming
              ? IncomingMigration.of(
                      IncomingSpec.of(destination.memory, destination, acceptor(late)))
                  .events(stop.asMono())
              : OutgoingMigration.of(source.outgoing(() -> late)).events(stop.asMono());
      assertThat(End.of(MigrationRun.result(events)).failure().kind()).isEqualTo(Kind.CANCELLED);
      pair.first().onDispose().block(End.LIMIT);
    }
  }

  private abstract static class BaseSubscription implements Subscription {
    @Override
    public void cancel() {}
  }

  private static Acceptor acceptor(Mono<Connection> accepting) {
    return new Acceptor() {
      @Override
      public Mono<Connection> accept() {
        return accepting;
      }

      @Override
      public String address() {
        return "a test";
      }

      @Override
      public void dispose() {}
    };
  }

  @Test
  void anAcceptorThatFailsEndsTheMigration() {
    MigrationException broken = MigrationException.of(Kind.TRANSPORT, "the port is gone");
    for (Mono<Connection> accepting :
        List.of(
            Mono.<Connection>error(broken),
            Mono.<Connection>defer(
                () -> {
                  throw broken;
                }))) {
      End end = End.of(destination.receive(acceptor(accepting)));
      assertThat(end.failure()).isSameAs(broken);
    }
    transport.acceptor().dispose();
    assertThat(End.of(receiving()).failure().kind()).isEqualTo(Kind.TRANSPORT);
    assertThat(End.of(source.migrate(transport.connector())).failure().kind())
        .isEqualTo(Kind.TRANSPORT);
  }

  @Test
  void theStopIsSubscribedToOnceAndCancelled() {
    AtomicInteger subscriptions = new AtomicInteger();
    CountDownLatch cancellations = new CountDownLatch(2);
    Mono<Void> stop =
        Mono.<Void>never()
            .doOnSubscribe(s -> subscriptions.incrementAndGet())
            .doOnCancel(cancellations::countDown);
    Mono<End> in =
        begin(
            MigrationRun.result(
                IncomingMigration.of(destination.incoming(transport.acceptor())).events(stop)));
    OutgoingMigration out = OutgoingMigration.of(source.outgoing(transport.connector()));
    assertThat(End.of(MigrationRun.result(out.events(stop))).error()).isNull();
    assertThat(await(in).error()).isNull();
    assertThat(subscriptions).hasValue(2);
    awaitLatch(cancellations);
  }

  // Subscribers.

  @Test
  void whoCancelsAtAnyEventEndsBothSides() {
    for (int at = 1; at < 20; at++) {
      source.reset();
      destination.clear();
      int after = at;
      AtomicInteger seen = new AtomicInteger();
      AtomicReference<MigrationEvent> last = new AtomicReference<>();
      Sinks.Empty<Void> stop = Sinks.empty();
      Mono<End> in =
          begin(
              MigrationRun.result(
                  IncomingMigration.of(destination.incoming(transport.acceptor()))
                      .events(stop.asMono())));
      OutgoingMigration.of(source.outgoing(transport.connector()))
          .events()
          .doOnNext(source::write)
          .takeUntil(event -> seen.incrementAndGet() >= after)
          .doOnNext(last::set)
          .blockLast(End.LIMIT);
      if (at == 1) {
        stop.tryEmitEmpty(); // The source has not connected.
      }
      End end = await(in);
      Leftovers.assertNoThreads();
      if (last.get() instanceof MigrationEvent.Completed) {
        assertThat(end.error()).isNull();
        assertThat(destination.running).isTrue();
        return;
      }
      if (end.error() != null) {
        assertThat(end.failure().kind())
            .as("after %d events: %s", at, end)
            .isEqualTo(Kind.CANCELLED);
        assertThat(destination.running).as("after %d events", at).isFalse();
        assertThat(source.running).as("after %d events", at).isTrue();
      } else {
        assertThat(destination.running).as("after %d events", at).isTrue();
        assertThat(source.running).as("after %d events", at).isFalse();
      }
    }
    throw new AssertionError("the migration has fewer events than that");
  }

  @Test
  void aMigrationDoesNotWaitForItsSubscriber() {
    Mono<End> in = begin(receiving());
    CountDownLatch told = new CountDownLatch(1);
    BaseSubscriber<MigrationEvent> lazy =
        new BaseSubscriber<>() {
          @Override
          protected void hookOnSubscribe(Subscription subscription) {}

          @Override
          protected void hookOnNext(MigrationEvent event) {
            assertThat(event).isNotInstanceOf(MigrationEvent.Progress.class);
          }

          @Override
          protected void hookOnComplete() {
            told.countDown();
          }
        };
    OutgoingMigration.of(
            source.outgoing(transport.connector()).withProgressInterval(Duration.ofMillis(1)))
        .events()
        .subscribe(lazy);
    assertThat(await(in).error()).isNull();
    Leftovers.assertNoThreads();
    assertThat(told.getCount()).isEqualTo(1);
    lazy.requestUnbounded();
    awaitLatch(told);
  }

  @Test
  void everySubscriptionIsAMigrationOfItsOwn() {
    Mono<MigrationInfo> out = source.migrate(transport.connector());
    Mono<MigrationInfo> in = receiving();
    for (int i = 0; i < 20; i++) {
      source.reset();
      Mono<End> received = begin(in);
      End end = End.of(out);
      assertThat(end.error()).isNull();
      assertThat(await(received).error()).isNull();
      assertThat(source.sameMemory(destination)).as("attempt %d", i).isTrue();
    }
  }
}
