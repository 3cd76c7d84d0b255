package io.pageflux.transport;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.Test;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.SignalType;
import reactor.core.publisher.Sinks;
import reactor.test.StepVerifier;

/** What holds for the bytes, the demand and the buffers of every transport. */
public interface TransportDataContract extends TransportHarness {

  @Test
  default void bytesArriveInOrderInBothDirectionsAtOnce() {
    InMemoryTransport.Pair pair = connect();
    try (SlabSource there = new SlabSource(8, 4711);
        SlabSource back = new SlabSource(8, 4712)) {
      Digest atServer = Digest.greedy(Long.MAX_VALUE);
      Digest atClient = Digest.oneByOne(Long.MAX_VALUE);
      pair.second().receive().subscribe(atServer);
      pair.first().receive().subscribe(atClient);
      Mono.when(
              pair.first().send(there.buffers(200, 256 << 10)),
              pair.second().send(back.buffers(3000, 20_000)))
          .block(PATIENCE);
      there.awaitAllReleased();
      back.awaitAllReleased();
      awaitBytes(atServer, there.bytes());
      awaitBytes(atClient, back.bytes());
      assertThat(atServer.crc()).as("seed 4711").isEqualTo(there.crc());
      assertThat(atClient.crc()).as("seed 4712").isEqualTo(back.crc());
    }
    pair.first().dispose();
    pair.second().dispose();
  }

  private static void awaitBytes(Digest digest, long bytes) {
    long end = System.nanoTime() + PATIENCE.toNanos();
    while (digest.bytes() < bytes && System.nanoTime() < end) {
      Thread.onSpinWait();
    }
    assertThat(digest.bytes()).isEqualTo(bytes);
  }

  @Test
  default void whatWasSentBeforeACloseArrivesBeforeTheEnd() {
    InMemoryTransport.Pair pair = connect();
    try (SlabSource source = new SlabSource(4, 99)) {
      Digest digest = Digest.oneByOne(Long.MAX_VALUE);
      pair.second().receive().subscribe(digest);
      pair.first().send(source.buffers(64, 64 << 10)).block(PATIENCE);
      pair.first().dispose();
      StepVerifier.create(digest.ended()).expectComplete().verify(PATIENCE);
      assertThat(digest.bytes()).isEqualTo(source.bytes());
      assertThat(digest.crc()).as("seed 99").isEqualTo(source.crc());
      source.awaitAllReleased();
    }
    pair.second().dispose();
  }

  @Test
  default void aReceiverWithoutDemandStopsTheSender() {
    InMemoryTransport.Pair pair = connect();
    try (SlabSource source = new SlabSource(64, 7)) {
      Digest digest = Digest.idle();
      pair.second().receive().subscribe(digest);
      AtomicReference<SignalType> sent = new AtomicReference<>();
      Disposable sending =
          pair.first()
              .send(source.buffers(100_000, 256 << 10))
              .doFinally(sent::set)
              .subscribe(nothing -> {}, error -> {});
      settle();
      assertThat(source.bytes())
          .isLessThanOrEqualTo(bytesOnTheWay() + (long) window() * (256 << 10));
      assertThat(source.requested()).isLessThanOrEqualTo(source.emitted() + window());
      assertThat(digest.buffers()).isZero();
      assertThat(sent.get()).isNull();

      int before = source.emitted();
      for (int i = 1; i <= 40; i++) {
        digest.request(1);
        awaitBuffers(digest, i);
        assertThat(source.bytes() - digest.bytes())
            .isLessThanOrEqualTo(bytesOnTheWay() + (long) window() * (256 << 10));
      }
      settle();
      assertThat(source.emitted()).as("goes on as something is received").isGreaterThan(before);
      sending.dispose();
      pair.first().dispose();
      pair.second().dispose();
      source.awaitAllReleased();
    }
  }

  private static void awaitBuffers(Digest digest, int buffers) {
    long end = System.nanoTime() + PATIENCE.toNanos();
    while (digest.buffers() < buffers && System.nanoTime() < end) {
      Thread.onSpinWait();
    }
    assertThat(digest.buffers()).isEqualTo(buffers);
  }

  @Test
  default void anErrorOfTheSourceEndsTheSendAndReleasesEverything() {
    InMemoryTransport.Pair pair = connect();
    try (SlabSource source = new SlabSource(8, 1)) {
      pair.second().receive().subscribe(Digest.greedy(Long.MAX_VALUE));
      IllegalStateException broken = new IllegalStateException("the source broke");
      StepVerifier.create(
              pair.first().send(source.buffers(20, 256 << 10).concatWith(Mono.error(broken))))
          .expectErrorSatisfies(error -> assertThat(error).isSameAs(broken))
          .verify(PATIENCE);
      pair.first().dispose();
      pair.second().dispose();
      source.awaitAllReleased();
    }
  }

  @Test
  default void anErrorOfTheSourceReleasesWhatNobodyHasReceived() {
    InMemoryTransport.Pair pair = connect();
    try (SlabSource source = new SlabSource(8, 1)) {
      pair.second().receive().subscribe(Digest.idle());
      StepVerifier.create(
              pair.first()
                  .send(
                      source
                          .buffers(2, 256 << 10)
                          .concatWith(Mono.error(new IllegalStateException("broke")))))
          .expectError(IllegalStateException.class)
          .verify(PATIENCE);
      pair.first().dispose();
      pair.second().dispose();
      source.awaitAllReleased();
    }
  }

  @Test
  default void cancellingASendReleasesEverything() {
    for (int round = 0; round < 20; round++) {
      InMemoryTransport.Pair pair = connect();
      try (SlabSource source = new SlabSource(8, round)) {
        Digest digest = Digest.oneByOne(500_000);
        pair.second().receive().subscribe(digest);
        Sinks.Empty<Void> cancelled = Sinks.empty();
        Disposable sending =
            pair.first()
                .send(source.buffers(100_000, 128 << 10).doOnCancel(cancelled::tryEmitEmpty))
                .subscribe();
        digest.enough().block(PATIENCE);
        sending.dispose();
        cancelled.asMono().block(PATIENCE);
        pair.first().dispose();
        pair.second().dispose();
        source.awaitAllReleased();
      }
    }
  }

  @Test
  default void cancellingAReceiveReleasesEverything() {
    for (int round = 0; round < 20; round++) {
      InMemoryTransport.Pair pair = connect();
      try (SlabSource source = new SlabSource(8, round)) {
        Mono<Void> sent = pair.first().send(source.buffers(100_000, 128 << 10)).cache();
        Disposable sending = sent.subscribe(nothing -> {}, error -> {});
        pair.second()
            .receive()
            .take(3 + round)
            .doOnNext(TransportBuffer::release)
            .then()
            .block(PATIENCE);
        pair.second().dispose();
        StepVerifier.create(sent).expectError(MigrationException.class).verify(PATIENCE);
        assertThat(sending.isDisposed()).isTrue();
        pair.first().dispose();
        source.awaitAllReleased();
      }
    }
  }

  @Test
  default void closingInTheMiddleEndsEverythingOnBothSides() {
    for (int round = 0; round < 20; round++) {
      InMemoryTransport.Pair pair = connect();
      try (SlabSource there = new SlabSource(8, round);
          SlabSource back = new SlabSource(8, 100 + round)) {
        Digest atServer = Digest.oneByOne(300_000);
        Digest atClient = Digest.greedy(300_000);
        pair.second().receive().subscribe(atServer);
        pair.first().receive().subscribe(atClient);
        Mono<Void> sentThere = pair.first().send(there.buffers(100_000, 100_000)).cache();
        Mono<Void> sentBack = pair.second().send(back.buffers(100_000, 200_000)).cache();
        sentThere.subscribe(nothing -> {}, error -> {});
        sentBack.subscribe(nothing -> {}, error -> {});
        atServer.enough().and(atClient.enough()).block(PATIENCE);
        (round % 2 == 0 ? pair.first() : pair.second()).dispose();
        for (Mono<Void> sent : List.of(sentThere, sentBack)) {
          assertThatThrownBy(() -> sent.block(PATIENCE))
              .isInstanceOfSatisfying(
                  MigrationException.class,
                  e -> assertThat(e.kind()).isEqualTo(MigrationException.Kind.TRANSPORT));
        }
        Mono.when(
                atServer.ended().onErrorComplete(MigrationException.class),
                atClient.ended().onErrorComplete(MigrationException.class),
                pair.first().onDispose(),
                pair.second().onDispose())
            .block(PATIENCE);
        pair.first().dispose();
        pair.second().dispose();
        there.awaitAllReleased();
        back.awaitAllReleased();
      }
    }
  }

  @Test
  default void anyKindOfBufferArrives() {
    InMemoryTransport.Pair pair = connect();
    ByteBuffer direct = ByteBuffer.allocateDirect(8).put(new byte[] {0, 0, 3, 4, 0, 0, 0, 0});
    Digest digest = Digest.oneByOne(9);
    pair.second().receive().subscribe(digest);
    AtomicInteger released = new AtomicInteger();
    Flux<TransportBuffer> buffers =
        Flux.just(
                ByteBuffer.wrap(new byte[] {1, 2}),
                direct.position(2).limit(4),
                ByteBuffer.allocate(0),
                ByteBuffer.allocateDirect(0),
                ByteBuffer.wrap(new byte[] {9, 5, 9}, 1, 1).asReadOnlyBuffer(),
                ByteBuffer.allocateDirect(4).put(new byte[] {6, 7, 8, 9}).flip().asReadOnlyBuffer())
            .map(bytes -> new TransportBuffer(bytes, released::incrementAndGet));
    pair.first().send(buffers).and(digest.enough()).block(PATIENCE);
    CRC32C expected = new CRC32C();
    expected.update(new byte[] {1, 2, 3, 4, 5, 6, 7, 8, 9});
    assertThat(digest.crc()).isEqualTo(expected.getValue());
    assertThat(released).hasValue(6);
    pair.first().dispose();
    pair.second().dispose();
  }

  @Test
  default void theSourceSeesTheContextOfTheSend() {
    InMemoryTransport.Pair pair = connect();
    pair.second().receive().subscribe(Digest.greedy(1));
    AtomicReference<Object> seen = new AtomicReference<>();
    Flux<TransportBuffer> source =
        Flux.deferContextual(
            context -> {
              seen.set(context.get("key"));
              return Flux.empty();
            });
    pair.first().send(source).contextWrite(c -> c.put("key", "value")).block(PATIENCE);
    assertThat(seen).hasValue("value");
    pair.first().dispose();
    pair.second().dispose();
  }
}
