package io.pageflux.qemu.relay;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.migration.CompressionSpec;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import io.pageflux.qemu.stream.QemuRamLayout;
import io.pageflux.qemu.stream.QemuStreamSpec;
import io.pageflux.qemu.stream.QemuStreams;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.TransportBuffer;
import java.io.ByteArrayOutputStream;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/** The relay at the destination with a QEMU that takes its time. */
class RelayDestinationTest {

  private static final Duration PATIENCE = Duration.ofSeconds(30);
  private static final int PAGE = 4096;
  private static final RamLayout LAYOUT =
      new RamLayout(List.of(new RamBlockLayout("pc.ram", 64 * PAGE, PAGE)));

  private final SlabPool pool = new SlabPool(2, new BatchGeometry(16, 16 * PAGE));

  @AfterEach
  void nothingIsLeft() {
    assertThat(pool.outstanding()).isZero();
    pool.close();
  }

  private PageBatch batch(int block, RamBlockLayout layout, int from) {
    PageBatch batch =
        new PageBatch(
            block,
            layout,
            Objects.requireNonNull(pool.tryAcquire()),
            pool.geometry().headroomBytes(),
            pool.geometry());
    byte[] bytes = new byte[PAGE];
    new Random(from).nextBytes(bytes);
    MemorySegment noise = MemorySegment.ofArray(bytes);
    for (int page = 0; page < 16; page++) {
      batch
          .slab()
          .asSlice((long) batch.payloadOffset() + batch.payloadBytes(), PAGE)
          .copyFrom(noise);
      batch.append(from + page, PageKind.RAW, PAGE);
    }
    return batch;
  }

  private byte[] stream() {
    return written(LAYOUT, Flux.range(0, 4).map(i -> batch(0, LAYOUT.blocks().getFirst(), 16 * i)));
  }

  private static byte[] written(RamLayout layout, Flux<PageBatch> batches) {
    ByteArrayOutputStream stream = new ByteArrayOutputStream();
    QemuStreams.write(new QemuStreamSpec("pc-i440fx-7.2", QemuRamLayout.of(layout)), batches)
        .doOnNext(buffer -> stream.writeBytes(bytes(buffer)))
        .blockLast(PATIENCE);
    return stream.toByteArray();
  }

  private static byte[] bytes(TransportBuffer buffer) {
    byte[] copy = new byte[buffer.bytes().remaining()];
    buffer.bytes().get(copy);
    buffer.release();
    return copy;
  }

  /** An acceptor's connections, of which it is known how much of what arrived was read. */
  private record Counting(Acceptor acceptor, AtomicLong read, Sinks.Empty<Void> much)
      implements Acceptor {

    private static final long MUCH = 10_000;

    @Override
    public Mono<Connection> accept() {
      return acceptor.accept().map(CountingConnection::new);
    }

    @Override
    public String address() {
      return acceptor.address();
    }

    @Override
    public void dispose() {
      acceptor.dispose();
    }

    private final class CountingConnection implements Connection {
      private final Connection connection;

      CountingConnection(Connection connection) {
        this.connection = connection;
      }

      @Override
      public Mono<Void> send(Flux<TransportBuffer> buffers) {
        return connection.send(buffers);
      }

      @Override
      public Flux<TransportBuffer> receive() {
        return connection.receive().map(this::counted);
      }

      private TransportBuffer counted(TransportBuffer buffer) {
        int bytes = buffer.bytes().remaining();
        return new TransportBuffer(
            buffer.bytes(),
            () -> {
              buffer.release();
              if (read.addAndGet(bytes) > MUCH) {
                much.tryEmitEmpty();
              }
            });
      }

      @Override
      public String peer() {
        return connection.peer();
      }

      @Override
      public void dispose() {
        connection.dispose();
      }

      @Override
      public Mono<Void> onDispose() {
        return connection.onDispose();
      }
    }
  }

  @Test
  void pagesThatArriveBeforeQemuIsConnectedToAreKept() {
    byte[] stream = stream();
    InMemoryTransport between = InMemoryTransport.create();
    InMemoryTransport toQemu = InMemoryTransport.create();
    Sinks.Empty<Void> pagesAreThere = Sinks.empty();
    Acceptor counting = new Counting(between.acceptor(), new AtomicLong(), pagesAreThere);
    Connector slow = () -> pagesAreThere.asMono().then(Mono.from(toQemu.connector().connect()));
    assertThat(relayed(stream, between.connector(), counting, slow, toQemu.acceptor()))
        .isEqualTo(stream);
  }

  @Test
  void asManyBlocksPassAsAStreamMayHave() {
    List<RamBlockLayout> blocks = new ArrayList<>();
    for (int i = 0; i < QemuRamLayout.MAX_BLOCKS; i++) {
      blocks.add(new RamBlockLayout("%0255d".formatted(i), 16 * PAGE, PAGE));
    }
    byte[] stream =
        written(
            new RamLayout(blocks),
            Flux.just(0, 255, 256, 4095).map(i -> batch(i, blocks.get(i), 0)));
    InMemoryTransport between = InMemoryTransport.create();
    InMemoryTransport toQemu = InMemoryTransport.create();
    assertThat(
            relayed(
                stream,
                between.connector(),
                between.acceptor(),
                toQemu.connector(),
                toQemu.acceptor()))
        .isEqualTo(stream);
  }

  private static byte[] relayed(
      byte[] stream,
      Connector toRelay,
      Acceptor fromRelay,
      Connector toDestination,
      Acceptor fromDestination) {
    InMemoryTransport fromQemu = InMemoryTransport.create();
    // With so many workers, so much is read ahead.
    RelaySpec spec = RelaySpec.DEFAULT.withCompression(new CompressionSpec(1, 8)).withXbzrle(null);

    Mono<RelayInfo> source = QemuRelay.source(spec, fromQemu.acceptor(), toRelay).last().cache();
    Mono<RelayInfo> destination =
        QemuRelay.destination(spec, fromRelay, toDestination).last().cache();
    source.subscribe(info -> {}, e -> {});
    destination.subscribe(info -> {}, e -> {});
    // Both QEMUs close their connections when everything is said.
    Mono.from(fromQemu.connector().connect())
        .flatMap(
            connection ->
                connection
                    .send(Flux.just(TransportBuffer.of(ByteBuffer.wrap(stream))))
                    .doFinally(signal -> connection.dispose()))
        .subscribe(v -> {}, e -> {});
    ByteArrayOutputStream arrived = new ByteArrayOutputStream();
    Mono.<Connection>from(fromDestination.accept())
        .flatMapMany(
            connection ->
                connection
                    .receive()
                    .doOnNext(buffer -> arrived.writeBytes(bytes(buffer)))
                    .takeUntil(buffer -> arrived.size() >= stream.length)
                    .doFinally(signal -> connection.dispose()))
        .subscribe(v -> {}, e -> {});

    assertThat(destination.block(PATIENCE)).isNotNull();
    assertThat(source.block(PATIENCE)).isNotNull();
    return arrived.toByteArray();
  }
}
