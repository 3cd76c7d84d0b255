package io.pageflux.qemu.relay;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.codec.XbzrleSpec;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.qemu.stream.PostcopyPayload;
import io.pageflux.qemu.stream.QemuCommand;
import io.pageflux.qemu.stream.QemuRamLayout;
import io.pageflux.qemu.stream.QemuReturnWriter;
import io.pageflux.qemu.stream.QemuStreamWriter;
import io.pageflux.transport.Connection;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.TransportBuffer;
import io.pageflux.wire.WireLimits;
import io.pageflux.wire.WireRecord;
import io.pageflux.wire.WireWriter;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/** The relay at the source, and a destination's relay that it cannot trust. */
class HostileDestinationRelayTest {

  private static final Duration PATIENCE = Duration.ofSeconds(30);
  private static final int PAGE = 4096;
  private static final RelaySpec SPEC = RelaySpec.DEFAULT.withXbzrle(null).withCompression(null);
  private static final ByteBuffer NO_PAYLOAD = ByteBuffer.allocate(0);

  private static WireRecord.Hello hello() {
    return RelayLink.hello(new UUID(1, 2));
  }

  /** A relay, between a QEMU that has begun to speak and a peer that says anything. */
  private static final class Rig implements AutoCloseable {
    final QemuStreamWriter qemuWriter = new QemuStreamWriter();
    final ByteArrayOutputStream returned = new ByteArrayOutputStream();
    final ScriptedRelay peer;
    private final Connection qemu;
    private final Sinks.Many<TransportBuffer> toRelay =
        Sinks.many().unicast().onBackpressureBuffer();
    private final CompletableFuture<RelayInfo> end = new CompletableFuture<>();

    Rig(boolean qemuReads) {
      this(SPEC, qemuReads);
    }

    Rig(RelaySpec spec, boolean qemuReads) {
      InMemoryTransport between = InMemoryTransport.create(256);
      InMemoryTransport fromQemu = InMemoryTransport.create();
      QemuRelay.source(spec, fromQemu.acceptor(), between.connector())
          .last()
          .subscribe(end::complete, end::completeExceptionally);
      qemu = Objects.requireNonNull(Mono.from(fromQemu.connector().connect()).block(PATIENCE));
      qemu.send(toRelay.asFlux()).subscribe(v -> {}, e -> {});
      if (qemuReads) {
        qemu.receive().subscribe(this::take, e -> {});
      }
      qemuSays(qemuWriter.header(), qemuWriter.configuration("pc-i440fx-7.2", List.of()));
      peer =
          new ScriptedRelay(
              Objects.requireNonNull(
                  Mono.<Connection>from(between.acceptor().accept()).block(PATIENCE)));
    }

    private void take(TransportBuffer buffer) {
      while (buffer.bytes().hasRemaining()) {
        returned.write(buffer.bytes().get());
      }
      buffer.release();
    }

    Rig qemuSays(ByteBuffer... pieces) {
      for (ByteBuffer piece : pieces) {
        toRelay.tryEmitNext(TransportBuffer.of(piece));
      }
      return this;
    }

    MigrationException failure() {
      Throwable failure = RelayPair.failure(end);
      assertThat(failure).isInstanceOf(MigrationException.class);
      qemu.onDispose().block(PATIENCE); // so its guest goes on
      return (MigrationException) Objects.requireNonNull(failure);
    }

    @Override
    public void close() {
      peer.close();
      qemu.dispose();
      qemuWriter.close();
    }
  }

  private static void assertRefused(Kind kind, String reason, WireRecord... records) {
    try (Rig rig = new Rig(true)) {
      rig.peer.says(records);
      MigrationException e = rig.failure();
      assertThat(e).hasMessageContaining(reason);
      assertThat(e.kind()).isEqualTo(kind);
      assertThat(rig.peer.heard)
          .last()
          .isInstanceOfSatisfying(
              WireRecord.Failure.class, failure -> assertThat(failure.message()).contains(reason));
    }
  }

  static Stream<WireRecord> recordsOutOfTurn() {
    return Stream.of(
        hello(),
        new WireRecord.Layout(
            new RamLayout(List.of(new RamBlockLayout("pc.ram", PAGE, PAGE))),
            new BatchGeometry(16, 16 * PAGE)),
        new WireRecord.Ready(),
        new WireRecord.RoundBegin(1, false, 1),
        new WireRecord.RoundAck(1, 0),
        new WireRecord.End(1, 0),
        new WireRecord.Prepared(0),
        new WireRecord.Commit(),
        new WireRecord.Running(),
        new WireRecord.PageRequest(0, 0, 1));
  }

  @ParameterizedTest
  @MethodSource("recordsOutOfTurn")
  void whatNoDestinationSaysIsOutOfTurn(WireRecord record) {
    assertRefused(
        Kind.PROTOCOL,
        "sent a %s record out of turn".formatted(record.getClass().getSimpleName()),
        hello(),
        record);
  }

  @Test
  void noMoreCanBePassedOnThanWasSent() {
    assertRefused(Kind.PROTOCOL, "not possible", hello(), new WireRecord.Progress(0, 1_000));
    assertRefused(
        Kind.PROTOCOL, "not possible", hello(), new WireRecord.Progress(0, Long.MAX_VALUE));
  }

  @Test
  void whatWasPassedOnStaysSo() {
    assertRefused(
        Kind.PROTOCOL,
        "passed on 0 records",
        hello(),
        new WireRecord.Progress(0, 1),
        new WireRecord.Progress(0, 0));
  }

  @Test
  void whatQemuDoesNotReadOfItsReturnPathIsBounded() {
    try (Rig rig = new Rig(false)) {
      rig.peer.says(hello());
      byte[] piece = new byte[WireLimits.MAX_STREAM_PIECE_BYTES];
      for (int i = 0; i < 300; i++) {
        rig.peer.says(new WireRecord.Stream(piece));
      }
      MigrationException e = rig.failure();
      assertThat(e).hasMessageContaining("does not read its return path");
      assertThat(e.kind()).isEqualTo(Kind.TRANSPORT);
    }
  }

  @Test
  void aLinkThatIsCutAtAnyByteEndsBothSides() {
    byte[] pong = {0, 2, 0, 4, 0, 0, 0, 1};
    WireWriter writer = new WireWriter();
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (WireRecord record :
        List.of(
            hello(),
            new WireRecord.Progress(0, 1),
            new WireRecord.Stream(pong),
            new WireRecord.StreamEnd())) {
      ByteBuffer buffer = writer.write(record).bytes();
      while (buffer.hasRemaining()) {
        out.write(buffer.get());
      }
    }
    byte[] all = out.toByteArray();
    int returned = 0;
    for (int end = 0; end < all.length; end++) {
      try (Rig rig = new Rig(true)) {
        rig.peer.says(Arrays.copyOf(all, end)).hangUp();
        MigrationException e = rig.failure();
        assertThat(e.kind()).as("cut after %d bytes: %s", end, e).isEqualTo(Kind.TRANSPORT);
        assertThat(rig.returned.size()).isGreaterThanOrEqualTo(returned);
        returned = rig.returned.size();
      }
    }
    assertThat(returned).isEqualTo(pong.length);
  }

  private static ByteBuffer[] upToAdvice(Rig rig) {
    return new ByteBuffer[] {
      rig.qemuWriter.command(QemuCommand.OPEN_RETURN_PATH, NO_PAYLOAD),
      rig.qemuWriter.command(
          QemuCommand.POSTCOPY_ADVISE, new PostcopyPayload.Advice(PAGE, PAGE).payload()),
    };
  }

  private static byte[] shut() {
    return QemuReturnWriter.shut(QemuReturnWriter.FAILURE).array();
  }

  @Test
  void qemuHearsOfAFailureIfItListens() {
    try (Rig rig = new Rig(true)) {
      rig.qemuSays(upToAdvice(rig));
      rig.peer.says(hello()).hangUp();
      rig.failure();
      assertThat(rig.returned.toByteArray()).isEqualTo(shut());
    }
    try (Rig rig = new Rig(true)) {
      rig.peer.says(hello()).hangUp();
      rig.failure();
      assertThat(rig.returned.size()).isZero();
    }
  }

  @Test
  void aGuestThatHasBeenGivenAwayIsNotGivenUp() {
    try (Rig rig = new Rig(true)) {
      rig.peer.says(hello());
      rig.qemuSays(upToAdvice(rig));
      rig.qemuSays(
          rig.qemuWriter.sectionStart(),
          rig.qemuWriter.ramBlocks(
              new QemuRamLayout(List.of(new QemuRamLayout.Block("pc.ram", PAGE)))),
          rig.qemuWriter.endOfSection(),
          rig.qemuWriter.command(QemuCommand.PACKAGED, PostcopyPayload.packaged(10)));
      rig.peer.hangUp();
      rig.failure();
      assertThat(rig.returned.size()).isZero(); // QEMU pauses, and can recover
    }
  }

  @Test
  void aGuestOfAnySizeHasALayout() {
    RelaySpec spec = SPEC.withXbzrle(XbzrleSpec.DEFAULT.withCacheBytes(1 << 20));
    try (Rig rig = new Rig(spec, true)) {
      List<QemuRamLayout.Block> blocks = new ArrayList<>();
      blocks.add(new QemuRamLayout.Block("large", (1L << 62) + PAGE));
      rig.peer.says(hello());
      rig.qemuSays(
          rig.qemuWriter.sectionStart(),
          rig.qemuWriter.ramBlocks(new QemuRamLayout(blocks)),
          rig.qemuWriter.endOfSection());
      assertThat(rig.peer.heard).anyMatch(WireRecord.Layout.class::isInstance);
    }
  }

  @Test
  void aCacheIsAPowerOfTwo() {
    assertThat(RelaySource.atLeast(1)).isEqualTo(1);
    assertThat(RelaySource.atLeast(3 * PAGE)).isEqualTo(4 * PAGE);
    assertThat(RelaySource.atLeast(4 * PAGE)).isEqualTo(4 * PAGE);
    assertThat(RelaySource.atLeast(1L << 62)).isEqualTo(1L << 62);
    assertThat(RelaySource.atLeast((1L << 62) + 1)).isEqualTo(1L << 62);
    assertThat(RelaySource.atLeast(Long.MAX_VALUE)).isEqualTo(1L << 62);
  }
}
