package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException.Kind;
import io.pageflux.convergence.ConvergenceStep;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.TransportBuffer;
import io.pageflux.transport.fault.Fault;
import io.pageflux.transport.fault.Place;
import io.pageflux.wire.Feature;
import io.pageflux.wire.WireRecord;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.util.retry.Retry;

/** Whatever strangers say to a destination that awaits its source, the source can go on. */
@Timeout(60)
class AwaitedSourceTest {

  private static final Duration LONG = Duration.ofSeconds(60);

  /** Into the first round. */
  private static final Fault CUT = Fault.cut(Place.afterBuffers(4));

  private final TinyGuest source = TinyGuest.atSource();
  private final TinyGuest destination = new TinyGuest();
  private final InMemoryTransport transport = InMemoryTransport.create();
  private final TapedLine first = new TapedLine(transport.connector(), CUT, Fault.NONE);

  @AfterEach
  void nothingIsLeft() {
    transport.acceptor().dispose();
    Leftovers.assertNoThreads();
    assertThat(first.there().outstanding()).isZero();
    source.close();
    destination.close();
  }

  private record Ends(End out, End in) {}

  /** The source's connection breaks; before its second one something happens. */
  private Ends migrate(Runnable meanwhile) {
    AtomicInteger made = new AtomicInteger();
    Connector connector =
        () ->
            Mono.<Connection>defer(
                    () -> {
                      if (made.getAndIncrement() == 0) {
                        return first.connector().connect().map(c -> (Connection) c);
                      }
                      if (made.get() == 2) {
                        meanwhile.run();
                      }
                      return transport.connector().connect().map(c -> (Connection) c);
                    })
                .subscribeOn(Schedulers.boundedElastic());
    Mono<End> in =
        IncomingMigration.of(
                destination
                    .incoming(transport.acceptor())
                    .withResume(LONG)
                    .withPeerTimeout(Duration.ofSeconds(1)))
            .run()
            .materialize()
            .map(s -> new End(s.get(), s.getThrowable()))
            .doFinally(signal -> transport.acceptor().dispose()) // nobody is heard any more
            .cache();
    in.subscribe();
    End out =
        End.of(
            source.migrate(
                source
                    .outgoing(connector)
                    .withPeerTimeout(Duration.ofSeconds(20))
                    .withResume(Retry.fixedDelay(1, Duration.ofMillis(1)))));
    return new Ends(out, Objects.requireNonNull(in.block(End.LIMIT)));
  }

  private void assertTakenUp(Ends ends) {
    assertThat(ends.out().error()).isNull();
    assertThat(ends.in().error()).isNull();
    assertThat(destination.running).isTrue();
    assertThat(source.running).isFalse();
    assertThat(source.sameMemory(destination)).isTrue();
    assertThat(Objects.requireNonNull(ends.out().info()).steps())
        .filteredOn(step -> step.kind() == ConvergenceStep.Kind.RESUMED)
        .hasSize(1)
        .noneMatch(step -> step.why().contains("has nothing"));
  }

  /** Somebody who connects, says something, and stays until he is told to go, or cut off. */
  private byte[] stranger(byte[] says) {
    return stranger(Flux.just(says));
  }

  private byte[] stranger(Flux<byte[]> says) {
    Connection line =
        Objects.requireNonNull(transport.connector().connect().map(c -> (Connection) c).block());
    Flux<TransportBuffer> buffers =
        says.map(bytes -> new TransportBuffer(ByteBuffer.wrap(bytes.clone()), () -> {}));
    line.send(buffers.concatWith(Flux.never())).subscribe(v -> {}, e -> {});
    ByteArrayOutputStream heard = new ByteArrayOutputStream();
    line.receive()
        .doOnNext(buffer -> heard.writeBytes(WireBytes.bytes(buffer)))
        .takeUntil(
            buffer -> WireBytes.records(heard.toByteArray()).getLast().type() == WireBytes.FAILURE)
        .then()
        .block(End.LIMIT);
    line.dispose();
    return heard.toByteArray();
  }

  private UUID session() {
    ByteBuffer hello =
        ByteBuffer.wrap(first.there().bytes()).position(WireBytes.PREAMBLE + WireBytes.HEADER + 24);
    return new UUID(hello.getLong(), hello.getLong());
  }

  private static WireRecord.Hello hello(int version, UUID session, int channels) {
    return new WireRecord.Hello(
        version, version, Feature.all(), 0, session, 0, channels, "a stranger");
  }

  private WireRecord layout(BatchGeometry geometry) {
    return new WireRecord.Layout(source.memory.layout(), geometry);
  }

  private static String text(byte[] bytes) {
    return new String(bytes, StandardCharsets.ISO_8859_1);
  }

  @Test
  void nobodyIsToldWhoIsAwaited() {
    byte[][] answer = new byte[1][];
    Ends ends = migrate(() -> answer[0] = stranger(WireBytes.of(hello(1, new UUID(3, 4), 1))));
    assertTakenUp(ends);
    assertThat(text(answer[0]))
        .contains("this side awaits the source of another migration")
        .doesNotContain(session().toString());
  }

  @Test
  void junkIsTurnedAway() {
    Ends ends =
        migrate(
            () -> {
              stranger("GET / HTTP/1.1\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
              byte[] greeting = WireBytes.of(hello(1, session(), 1), layout(TinyGuest.GEOMETRY));
              stranger(WireBytes.flipped(greeting, greeting.length - 1));
              stranger(WireBytes.of(hello(1, session(), 1), new WireRecord.Commit()));
              stranger(
                  WireBytes.of(
                      hello(1, new UUID(3, 4), 1),
                      new WireRecord.Failure(Kind.CANCELLED, "a stranger gives up")));
            });
    assertTakenUp(ends);
  }

  @Test
  void silenceIsTurnedAway() {
    Ends ends =
        migrate(
            () -> {
              // But for signs of life, so that nothing but the limit of greeting ends it.
              byte[] greeting = WireBytes.of(hello(1, session(), 1));
              int[] next = new int[1];
              stranger(
                  Flux.interval(Duration.ZERO, Duration.ofMillis(20))
                      .map(
                          tick ->
                              tick == 0
                                  ? greeting
                                  : WireBytes.sealed(WireBytes.KEEP_ALIVE, 0, ++next[0], 0)));
            });
    assertTakenUp(ends);
  }

  @Test
  void aVersionOrANumberOfConnectionsThatDoesNotSuitIsTurnedAway() {
    Ends ends =
        migrate(
            () -> {
              stranger(WireBytes.of(hello(9, session(), 1)));
              stranger(WireBytes.of(hello(1, session(), 2)));
            });
    assertTakenUp(ends);
  }

  @Test
  void aChangedLayoutIsTurnedAway() {
    RamLayout other = new RamLayout(List.of(new RamBlockLayout("ram", 512, 512)));
    byte[][] answer = new byte[1][];
    Ends ends =
        migrate(
            () -> {
              answer[0] =
                  stranger(
                      WireBytes.of(
                          hello(1, session(), 1),
                          new WireRecord.Layout(other, TinyGuest.GEOMETRY)));
              stranger(
                  WireBytes.of(hello(1, session(), 1), layout(new BatchGeometry(1024, 2 << 20))));
            });
    assertTakenUp(ends);
    assertThat(text(answer[0])).contains("the RAM blocks differ");
  }

  @Test
  void aReplayIsTurnedAway() {
    byte[][] answer = new byte[1][];
    Ends ends = migrate(() -> answer[0] = stranger(first.there().bytes()));
    assertTakenUp(ends);
    assertThat(text(answer[0])).contains("round 1 follows round 1");
  }

  @Test
  void anyNumberOfStrangersIsTurnedAway() {
    Ends ends =
        migrate(
            () -> {
              byte[] greeting = WireBytes.of(hello(1, new UUID(3, 4), 1));
              for (int i = 0; i < 1500; i++) {
                stranger(greeting);
              }
            });
    assertTakenUp(ends);
  }

  @Test
  void aSourceThatComesBackToGiveUpIsHeard() {
    Ends ends =
        migrate(
            () ->
                stranger(
                    WireBytes.of(
                        hello(1, session(), 1),
                        layout(TinyGuest.GEOMETRY),
                        new WireRecord.Failure(Kind.CANCELLED, "somebody stopped it"))));
    assertThat(ends.in().failure().isFromPeer()).isTrue();
    assertThat(ends.in().message()).contains("somebody stopped it");
    assertThat(destination.running).isFalse();
  }
}
