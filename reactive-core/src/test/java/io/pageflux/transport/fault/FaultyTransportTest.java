package io.pageflux.transport.fault;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.SlabSource;
import io.pageflux.transport.TransportBuffer;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.Disposable;
import reactor.core.publisher.BaseSubscriber;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Schedulers;
import reactor.test.scheduler.VirtualTimeScheduler;

@Timeout(60)
class FaultyTransportTest {

  private static final Duration PATIENCE = Duration.ofSeconds(20);
  private static final byte[] BYTES = new byte[1000];

  static {
    new Random(1).nextBytes(BYTES);
  }

  private final AtomicInteger out = new AtomicInteger();
  private final VirtualTimeScheduler clock = VirtualTimeScheduler.create();

  @AfterEach
  void everyBufferWasReleasedOnce() {
    assertThat(out).hasValue(0);
    clock.dispose();
  }

  /** All bytes, in buffers of a size. */
  private Flux<TransportBuffer> buffers(byte[] bytes, int size) {
    return Flux.range(0, (bytes.length + size - 1) / size)
        .map(
            i -> {
              out.incrementAndGet();
              int length = Math.min(size, bytes.length - i * size);
              ByteBuffer direct = ByteBuffer.allocateDirect(length);
              direct.put(bytes, i * size, length).flip();
              return new TransportBuffer(direct, out::decrementAndGet);
            });
  }

  /** What one end hears, and how it ends. */
  private static final class Heard extends BaseSubscriber<TransportBuffer> {
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    private final Sinks.Empty<Void> end = Sinks.empty();
    private volatile boolean ended;

    @Override
    protected void hookOnNext(TransportBuffer buffer) {
      byte[] copy = new byte[buffer.bytes().remaining()];
      buffer.bytes().get(copy);
      synchronized (bytes) {
        bytes.writeBytes(copy);
      }
      buffer.release();
    }

    @Override
    protected void hookOnComplete() {
      ended = true;
      end.tryEmitEmpty();
    }

    @Override
    protected void hookOnError(Throwable e) {
      ended = true;
      end.tryEmitError(e);
    }

    byte[] bytes() {
      synchronized (bytes) {
        return bytes.toByteArray();
      }
    }
  }

  private InMemoryTransport.Pair pair(FaultPlan plan) {
    InMemoryTransport.Pair real = InMemoryTransport.pair();
    return new InMemoryTransport.Pair(
        FaultyTransport.connection(real.first(), plan, clock), real.second());
  }

  private static Heard hear(Connection connection) {
    Heard heard = new Heard();
    connection.receive().subscribe(heard);
    return heard;
  }

  private static byte[] first(int count) {
    return Arrays.copyOf(BYTES, count);
  }

  @Test
  void aLineIsCutAtAnyByteWhateverTheBuffersAre() {
    for (int size : new int[] {1, 7, 100, 1000}) {
      for (int at = 0; at < BYTES.length; at += 13) {
        InMemoryTransport.Pair pair = pair(FaultPlan.of(Fault.cutAfter(at), Fault.NONE));
        Heard heard = hear(pair.second());
        assertThatThrownBy(() -> pair.first().send(buffers(BYTES, size)).block(PATIENCE))
            .isInstanceOf(MigrationException.class);
        assertThat(heard.bytes()).as("cut at %d of buffers of %d", at, size).isEqualTo(first(at));
        assertThat(heard.ended).isTrue();
        assertThat(out).hasValue(0);
      }
    }
  }

  @Test
  void aStreamEndsAtAnyByteInEitherDirection() {
    for (int at = 0; at < BYTES.length; at += 37) {
      InMemoryTransport.Pair sending = pair(FaultPlan.of(Fault.endAfter(at), Fault.NONE));
      Heard heard = hear(sending.second());
      assertThatThrownBy(() -> sending.first().send(buffers(BYTES, 64)).block(PATIENCE))
          .hasMessageContaining("broke in sending");
      assertThat(heard.bytes()).isEqualTo(first(at));

      InMemoryTransport.Pair receiving = pair(FaultPlan.of(Fault.NONE, Fault.endAfter(at)));
      Heard back = hear(receiving.first());
      receiving.second().send(buffers(BYTES, 64)).onErrorComplete().block(PATIENCE);
      assertThat(back.bytes()).isEqualTo(first(at));
      assertThat(back.ended).isTrue();
      assertThat(receiving.second().onDispose().blockOptional(PATIENCE)).isEmpty();
      assertThat(out).hasValue(0);
    }
  }

  @Test
  void oneBitIsFlipped() {
    for (int at : new int[] {0, 1, 63, 64, 65, 998, 999}) {
      InMemoryTransport.Pair pair = pair(FaultPlan.of(Fault.flip(at), Fault.NONE));
      Heard heard = hear(pair.second());
      pair.first().send(buffers(BYTES, 64)).block(PATIENCE);
      byte[] expected = BYTES.clone();
      expected[at] ^= (byte) (1 << at % 8);
      assertThat(heard.bytes()).as("byte %d", at).isEqualTo(expected);
      pair.first().dispose();
      assertThat(out).hasValue(0);
    }
  }

  @Test
  void aStallThatLastsHoldsOneBufferUntilThisSideCloses() {
    InMemoryTransport.Pair pair =
        pair(FaultPlan.of(Fault.stall(Place.afterBytes(100)), Fault.NONE));
    Heard heard = hear(pair.second());
    pair.first().send(buffers(BYTES, 64)).onErrorComplete().subscribe();
    clock.advanceTimeBy(Duration.ofDays(1));
    assertThat(heard.bytes()).isEqualTo(first(100));
    assertThat(heard.ended).isFalse();
    assertThat(out).as("the one that is held").hasValue(1);
    pair.first().dispose();
    assertThat(heard.ended).isTrue();
  }

  @Test
  void aStallThatEndsLosesNothing() {
    for (Place place : new Place[] {Place.START, Place.afterBytes(100), Place.afterBytes(128)}) {
      Fault fault = Fault.stall(place, Duration.ofSeconds(5));
      InMemoryTransport.Pair pair = pair(FaultPlan.of(fault, Fault.NONE));
      Heard heard = hear(pair.second());
      pair.first().send(buffers(BYTES, 64)).subscribe();
      clock.advanceTimeBy(Duration.ofMillis(4_999));
      assertThat(heard.bytes()).isEqualTo(first((int) place.count()));
      clock.advanceTimeBy(Duration.ofMillis(1));
      assertThat(heard.bytes()).as("%s", fault).isEqualTo(BYTES);
      pair.first().dispose();
    }
  }

  @Test
  void aSlowLineTakesItsTimeForEachBuffer() {
    InMemoryTransport.Pair pair =
        pair(FaultPlan.of(Fault.NONE, Fault.delay(Place.START, Duration.ofMillis(10))));
    Heard heard = hear(pair.first());
    pair.second().send(buffers(BYTES, 100)).subscribe();
    clock.advanceTimeBy(Duration.ofMillis(35));
    assertThat(heard.bytes()).isEqualTo(first(300));
    clock.advanceTimeBy(Duration.ofMillis(65));
    assertThat(heard.bytes()).isEqualTo(BYTES);
    pair.first().dispose();
  }

  @Test
  void aHalfOpenConnectionTakesAllAndTellsNothingNotEvenThatThePeerHasGone() {
    InMemoryTransport.Pair pair = pair(FaultPlan.HALF_OPEN);
    Heard there = hear(pair.second());
    Heard back = hear(pair.first());
    AtomicInteger sent = new AtomicInteger();
    pair.first()
        .send(buffers(BYTES, 10))
        .subscribe(v -> {}, e -> sent.incrementAndGet(), sent::incrementAndGet);
    pair.second().send(buffers(BYTES, 10)).block(PATIENCE);
    pair.second().dispose();
    clock.advanceTimeBy(Duration.ofDays(1));
    assertThat(there.bytes()).isEmpty();
    assertThat(back.bytes()).isEmpty();
    assertThat(back.ended).isFalse();
    assertThat(sent).as("nobody is told").hasValue(0);
    pair.first().dispose();
    assertThat(back.ended).isTrue();
    assertThat(sent).hasValue(1);
  }

  /** A preamble and records of types, with bodies of lengths. */
  private static byte[] stream(int... typesAndLengths) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    bytes.writeBytes(new byte[8]);
    for (int i = 0; i < typesAndLengths.length; i += 2) {
      byte[] record = new byte[20 + typesAndLengths[i + 1]];
      Arrays.fill(record, (byte) 12); // all of it looks like a type
      ByteBuffer.wrap(record).put(0, (byte) typesAndLengths[i]).putInt(4, record.length - 20);
      bytes.writeBytes(record);
    }
    return bytes.toByteArray();
  }

  @Test
  void recordsAreFoundWhereverBuffersEnd() {
    byte[] bytes = stream(1, 44, 5, 300, 15, 0, 12, 0, 13, 0);
    int beforeTwelve = 8 + 64 + 320 + 20;
    for (int size = 1; size < 400; size++) {
      InMemoryTransport.Pair before =
          pair(FaultPlan.of(Fault.end(Place.beforeRecord(12)), Fault.NONE));
      Heard heard = hear(before.second());
      before.first().send(buffers(bytes, size)).onErrorComplete().block(PATIENCE);
      assertThat(heard.bytes()).as("in buffers of %d", size).hasSize(beforeTwelve);
      InMemoryTransport.Pair after =
          pair(FaultPlan.of(Fault.end(Place.afterRecords(3)), Fault.NONE));
      Heard some = hear(after.second());
      after.first().send(buffers(bytes, size)).onErrorComplete().block(PATIENCE);
      assertThat(some.bytes()).as("in buffers of %d", size).hasSize(beforeTwelve);
    }
  }

  @Test
  void aRecordThatEndsWithItsBufferHasPassedThoughNoOtherComes() {
    byte[] bytes = stream(1, 44, 5, 300);
    InMemoryTransport.Pair pair = pair(FaultPlan.of(Fault.end(Place.afterRecords(2)), Fault.NONE));
    Heard heard = hear(pair.second());
    pair.first()
        .send(buffers(bytes, bytes.length).concatWith(Flux.never()))
        .onErrorComplete()
        .block(PATIENCE);
    assertThat(heard.bytes()).isEqualTo(bytes);
  }

  @Test
  void whoeverCancelsOrClosesAtAnyMomentLeavesNoBufferBehind() {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    Fault.Kind[] kinds = Fault.Kind.values();
    for (int i = 0; i < 400; i++) {
      Fault.Kind kind = kinds[random.nextInt(kinds.length)];
      FaultPlan plan = FaultPlan.random(random, kind, random.nextBoolean(), 400_000);
      InMemoryTransport.Pair real = InMemoryTransport.pair();
      Connection faulty = FaultyTransport.connection(real.first(), plan, Schedulers.parallel());
      boolean outwards = random.nextBoolean();
      Connection from = outwards ? faulty : real.second();
      Connection to = outwards ? real.second() : faulty;
      try (SlabSource source = new SlabSource(4, seed + i)) {
        Heard heard = hear(to);
        Disposable sending = from.send(source.buffers(200, 4000)).subscribe(v -> {}, e -> {});
        Mono.delay(Duration.ofNanos(random.nextInt(2_000_000))).block(PATIENCE);
        switch (random.nextInt(3)) {
          case 0 -> sending.dispose();
          case 1 -> heard.cancel();
          default -> to.dispose();
        }
        from.dispose();
        to.dispose();
        try {
          source.awaitAllReleased();
        } catch (AssertionError e) {
          throw new AssertionError("seed " + seed + ", attempt " + i + ", " + plan, e);
        }
      }
    }
  }

  @Test
  void theSameSeedMakesTheSamePlan() {
    for (Fault.Kind kind : Fault.Kind.values()) {
      assertThat(FaultPlan.random(new Random(5), kind, true, 1000))
          .isEqualTo(FaultPlan.random(new Random(5), kind, true, 1000));
    }
  }

  @Test
  void whoWantsToDoSomethingAtTheSamePlaceIsTold() {
    InMemoryTransport transport = InMemoryTransport.create();
    AtomicInteger told = new AtomicInteger(-1);
    Connection from =
        FaultyTransport.connector(
                transport.connector(),
                n -> FaultPlan.of(Fault.stall(Place.afterBytes(100)), Fault.NONE),
                clock,
                told::set)
            .connect()
            .<Connection>map(c -> c)
            .block(PATIENCE);
    Connection to = transport.acceptor().accept().<Connection>map(c -> c).block(PATIENCE);
    if (from == null || to == null) {
      throw new AssertionError("no connection");
    }
    Heard heard = hear(to);
    Disposable first = from.send(buffers(first(99), 33)).subscribe();
    assertThat(told).hasValue(-1);
    first.dispose();
    assertThat(heard.bytes()).isEqualTo(first(99));
    from.dispose();
    Connection again =
        FaultyTransport.connector(
                transport.connector(),
                n -> FaultPlan.of(Fault.stall(Place.afterBytes(100)), Fault.NONE),
                clock,
                told::set)
            .connect()
            .<Connection>map(c -> c)
            .block(PATIENCE);
    Connection other = transport.acceptor().accept().<Connection>map(c -> c).block(PATIENCE);
    if (again == null || other == null) {
      throw new AssertionError("no connection");
    }
    Heard half = hear(other);
    again.send(buffers(BYTES, 64)).onErrorComplete().subscribe();
    assertThat(told).hasValue(0);
    assertThat(half.bytes()).isEqualTo(first(100));
    again.dispose();
    transport.acceptor().dispose();
  }

  @Test
  void eachConnectionHasItsPlanAndItsTime() {
    InMemoryTransport transport = InMemoryTransport.create();
    Connector connector =
        FaultyTransport.connector(
            transport.connector(),
            n -> FaultPlan.NONE.withConnectDelay(Duration.ofSeconds(n)),
            clock);
    AtomicInteger made = new AtomicInteger();
    for (int i = 0; i < 3; i++) {
      connector.connect().subscribe(c -> made.incrementAndGet());
    }
    assertThat(made).hasValue(1);
    clock.advanceTimeBy(Duration.ofSeconds(1));
    assertThat(made).hasValue(2);
    clock.advanceTimeBy(Duration.ofSeconds(1));
    assertThat(made).hasValue(3);
    transport.acceptor().dispose();
  }
}
