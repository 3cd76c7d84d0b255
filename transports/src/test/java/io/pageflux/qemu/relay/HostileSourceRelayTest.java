package io.pageflux.qemu.relay;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import io.pageflux.transport.Connection;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.TransportBuffer;
import io.pageflux.wire.Feature;
import io.pageflux.wire.WireLimits;
import io.pageflux.wire.WireRecord;
import io.pageflux.wire.WireWriter;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import reactor.core.publisher.Mono;

/** The relay at the destination, and a source's relay that it cannot trust. */
class HostileSourceRelayTest {

  private static final Duration PATIENCE = Duration.ofSeconds(30);
  private static final int PAGE = 4096;
  private static final RamLayout RAM =
      new RamLayout(List.of(new RamBlockLayout("pc.ram", 64 * PAGE, PAGE)));
  private static final BatchGeometry GEOMETRY = new BatchGeometry(16, 16 * PAGE);
  private static final RelaySpec SPEC = RelaySpec.DEFAULT.withXbzrle(null).withCompression(null);
  private static final WireRecord.Layout LAYOUT = new WireRecord.Layout(RAM, GEOMETRY);
  private static final WireRecord.Stream PIECE = new WireRecord.Stream(new byte[] {1, 2, 3});

  private static WireRecord.Hello hello() {
    return RelayLink.hello(new UUID(1, 2));
  }

  /** A relay, between a peer that says anything and a QEMU that reads everything. */
  private static final class Rig implements AutoCloseable {
    final ByteArrayOutputStream arrived = new ByteArrayOutputStream();
    final AtomicReference<Connection> qemu = new AtomicReference<>();
    final ScriptedRelay peer;
    final List<String> strays = new CopyOnWriteArrayList<>();
    private final InMemoryTransport between = InMemoryTransport.create(256);
    private final CompletableFuture<RelayInfo> end = new CompletableFuture<>();

    Rig() {
      InMemoryTransport toQemu = InMemoryTransport.create();
      QemuRelay.destination(SPEC, between.acceptor(), toQemu.connector(), strays::add)
          .last()
          .subscribe(end::complete, end::completeExceptionally);
      Mono.<Connection>from(toQemu.acceptor().accept()).subscribe(this::connected, e -> {});
      peer = connect();
    }

    /** {@return somebody more who connects} */
    ScriptedRelay connect() {
      return new ScriptedRelay(
          Objects.requireNonNull(Mono.from(between.connector().connect()).block(PATIENCE)));
    }

    /** Another client is listened to, as if nobody had been there before. */
    void assertWaitsFurther(String reason) {
      try (ScriptedRelay relay = connect()) {
        relay.says(hello(), new WireRecord.Failure(Kind.INTEGRITY, "this is a relay"));
        assertThat(failure()).hasMessageContaining("this is a relay");
      }
      assertThat(strays).singleElement().asString().contains(reason);
    }

    private void connected(Connection connection) {
      qemu.set(connection);
      connection
          .receive()
          .subscribe(
              buffer -> {
                byte[] bytes = new byte[buffer.bytes().remaining()];
                buffer.bytes().get(bytes);
                arrived.writeBytes(bytes);
                buffer.release();
              },
              e -> {});
    }

    MigrationException failure() {
      Throwable failure = RelayPair.failure(end);
      assertThat(failure).isInstanceOf(MigrationException.class);
      Connection connection = qemu.get();
      if (connection != null) {
        connection.onDispose().block(PATIENCE); // it must not take what it has for all there is
      }
      return (MigrationException) Objects.requireNonNull(failure);
    }

    @Override
    public void close() {
      peer.close();
    }
  }

  private static void assertRefused(Kind kind, String reason, WireRecord... records) {
    try (Rig rig = new Rig()) {
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
        new WireRecord.Ready(),
        new WireRecord.RoundBegin(1, false, 1),
        new WireRecord.RoundEnd(1, 0, 0, 0),
        new WireRecord.RoundAck(1, 0),
        new WireRecord.Progress(0, 0),
        new WireRecord.DeviceState(new byte[1]),
        new WireRecord.End(1, 0),
        new WireRecord.Prepared(0),
        new WireRecord.Commit(),
        new WireRecord.Running(),
        new WireRecord.PostcopyListen(),
        new WireRecord.PageRequest(0, 0, 1),
        new WireRecord.PostcopyComplete(0));
  }

  @ParameterizedTest
  @MethodSource("recordsOutOfTurn")
  void whatNoSourceSaysIsOutOfTurn(WireRecord record) {
    assertRefused(
        Kind.PROTOCOL,
        "sent a %s record out of turn".formatted(record.getClass().getSimpleName()),
        hello(),
        record);
  }

  @Test
  void aSecondLayoutIsOutOfTurn() {
    assertRefused(Kind.PROTOCOL, "Layout record out of turn", hello(), LAYOUT, LAYOUT);
  }

  @Test
  void nothingComesAfterTheEnd() {
    WireRecord.StreamEnd end = new WireRecord.StreamEnd();
    assertRefused(Kind.PROTOCOL, "Stream record out of turn", hello(), PIECE, end, PIECE);
    assertRefused(Kind.PROTOCOL, "StreamEnd record out of turn", hello(), end, end);
  }

  @Test
  void batchesThatAreTooLargeAreRefused() {
    assertRefused(
        Kind.PROTOCOL,
        "batches of up to 256 pages",
        hello(),
        new WireRecord.Layout(RAM, new BatchGeometry(256, 256 << 10)));
    assertRefused(
        Kind.PROTOCOL,
        "1048576 bytes",
        hello(),
        new WireRecord.Layout(RAM, new BatchGeometry(16, 1 << 20)));
  }

  @Test
  void whoIsNoRelayDoesNotReachQemu() {
    WireRecord.Hello plain =
        new WireRecord.Hello(
            WireLimits.VERSION,
            WireLimits.VERSION,
            Feature.all() & ~Feature.RELAY.mask(),
            0,
            new UUID(1, 2),
            0,
            1,
            "x");
    try (Rig rig = new Rig()) {
      rig.peer.says(plain);
      assertThat(rig.peer.heard)
          .last()
          .isInstanceOfSatisfying(
              WireRecord.Failure.class, failure -> assertThat(failure.message()).contains("RELAY"));
      assertThat(rig.qemu).hasNullValue();
      rig.assertWaitsFurther("RELAY");
    }
  }

  @Test
  void whoSpeaksAnotherLanguageDoesNotUseUpTheMigration() {
    try (Rig rig = new Rig()) {
      rig.peer.says("GET / HTTP/1.1".getBytes(StandardCharsets.US_ASCII));
      rig.assertWaitsFurther("does not speak Pageflux");
    }
  }

  @Test
  void whoSaysNothingIsInNobodysWay() {
    try (Rig rig = new Rig()) {
      try (ScriptedRelay relay = rig.connect()) {
        relay.says(hello(), new WireRecord.Failure(Kind.INTEGRITY, "this is a relay"));
        assertThat(rig.failure()).hasMessageContaining("this is a relay");
      }
    }
  }

  @Test
  void whoHangsUpBeforeHisHelloIsCompleteDoesNotUseUpTheMigration() {
    byte[] hello = bytes(new WireWriter().write(hello()));
    for (int end = 0; end < hello.length; end++) {
      try (Rig rig = new Rig()) {
        rig.peer.says(Arrays.copyOf(hello, end)).hangUp();
        rig.assertWaitsFurther("turned away");
      }
    }
  }

  @Test
  void aDamagedHelloDoesNotUseUpTheMigration() {
    byte[] hello = bytes(new WireWriter().write(hello()));
    for (int i = 0; i < hello.length; i++) {
      byte[] damaged = hello.clone();
      damaged[i] ^= 0x10;
      try (Rig rig = new Rig()) {
        rig.peer.says(damaged).hangUp();
        rig.assertWaitsFurther("turned away");
      }
    }
  }

  @Test
  void aFailureOfThePeerIsPassedOn() {
    try (Rig rig = new Rig()) {
      rig.peer.says(hello(), new WireRecord.Failure(Kind.INTEGRITY, "a page is damaged"));
      assertThat(rig.failure())
          .hasMessageContaining("the peer reports")
          .hasMessageContaining("a page is damaged");
    }
  }

  /** What a source says: the bytes of a short migration. */
  private static byte[] conversation(SlabPool pool) {
    PageBatch batch =
        new PageBatch(
            0,
            RAM.blocks().getFirst(),
            Objects.requireNonNull(pool.tryAcquire()),
            pool.geometry().headroomBytes(),
            pool.geometry());
    batch.append(3, PageKind.ZERO, 0);
    batch.append(4, PageKind.ZERO, 0);
    WireWriter writer = new WireWriter();
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (WireRecord record :
        List.of(hello(), LAYOUT, PIECE, new WireRecord.Pages(batch), new WireRecord.StreamEnd())) {
      out.writeBytes(bytes(writer.write(record)));
    }
    return out.toByteArray();
  }

  private static byte[] bytes(TransportBuffer buffer) {
    byte[] bytes = new byte[buffer.bytes().remaining()];
    buffer.bytes().get(bytes);
    buffer.release();
    return bytes;
  }

  @Test
  void aLinkThatIsCutAtAnyByteEndsBothSides() {
    try (SlabPool pool = new SlabPool(1, GEOMETRY)) {
      byte[] all = conversation(pool);
      int inQemu = 0;
      for (int end = bytes(new WireWriter().write(hello())).length; end < all.length; end++) {
        try (Rig rig = new Rig()) {
          rig.peer.says(Arrays.copyOf(all, end)).hangUp();
          MigrationException e = rig.failure();
          assertThat(e.kind()).as("cut after %d bytes: %s", end, e).isEqualTo(Kind.TRANSPORT);
          assertThat(rig.arrived.size()).isGreaterThanOrEqualTo(inQemu);
          inQemu = rig.arrived.size();
        }
      }
      // The piece, and two records of zero pages, of which the first names its block.
      assertThat(inQemu).isEqualTo(3 + 9 + 1 + "pc.ram".length() + 9);
      assertThat(pool.outstanding()).isZero();
    }
  }
}
