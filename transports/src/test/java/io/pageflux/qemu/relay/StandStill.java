package io.pageflux.qemu.relay;

import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.SlabPool;
import io.pageflux.qemu.stream.QemuElement;
import io.pageflux.qemu.stream.QemuReturnMessage;
import io.pageflux.qemu.stream.QemuReturnReader;
import io.pageflux.qemu.stream.QemuStreamReader;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.TransportBuffer;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.function.ToIntFunction;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** The way to a destination's QEMU, on which nothing passes any more from a moment on. */
final class StandStill implements Connector, AutoCloseable {

  /** The moment. */
  enum Moment {
    /** Some bytes of what comes after the RAM have been passed on, and not all. */
    IN_DEVICE_TAIL,
    /** QEMU has everything and has said so, which has not been passed on. */
    BEFORE_SHUT,
    /** It has just been passed on. */
    AFTER_SHUT
  }

  private static final int SHUT_BYTES = 8;

  private final Connector qemu;
  private final Moment moment;
  private final int tailBytes;
  private final SlabPool pool = new SlabPool(2, new BatchGeometry(64, 256 << 10));
  private final QemuStreamReader stream = new QemuStreamReader(pool.geometry(), 4096);
  private final QemuReturnReader returned =
      new QemuReturnReader(new RamLayout(List.of(new RamBlockLayout("pc.ram", 4096, 4096))));
  private long tailStart = -1;
  private final CompletableFuture<Void> reached = new CompletableFuture<>();

  /**
   * @param tailBytes how many bytes after the RAM pass, if that is the moment
   */
  StandStill(Connector qemu, Moment moment, int tailBytes) {
    this.qemu = qemu;
    this.moment = moment;
    this.tailBytes = tailBytes;
  }

  /** {@return completes at the moment} */
  CompletableFuture<Void> reached() {
    return reached;
  }

  @Override
  public Mono<? extends Connection> connect() {
    return Mono.<Connection>from(qemu.connect()).map(Watched::new);
  }

  @Override
  public void close() {
    stream.close();
    pool.close();
  }

  /** Where in these bytes to QEMU the moment is, or -1. */
  private int inStream(ByteBuffer bytes) {
    if (moment != Moment.IN_DEVICE_TAIL) {
      return -1;
    }
    long before = stream.bytesRead();
    ByteBuffer in = bytes.duplicate();
    while (true) {
      QemuElement element = stream.read(in);
      if (element != null) {
        if (element instanceof QemuElement.DeviceTail && tailStart < 0) {
          tailStart = element.offset();
        }
        element.release();
      } else if (stream.needsSlab()) {
        stream.supply(Objects.requireNonNull(pool.tryAcquire()));
      } else {
        break;
      }
    }
    long at = tailStart + tailBytes;
    return tailStart >= 0 && at < stream.bytesRead() ? (int) (at - before) : -1;
  }

  /** Where in these bytes from QEMU the moment is, or -1. */
  private int inReturnPath(ByteBuffer bytes) {
    long before = returned.bytesRead();
    ByteBuffer in = bytes.duplicate();
    for (QemuReturnMessage message = returned.read(in);
        message != null;
        message = returned.read(in)) {
      if (message instanceof QemuReturnMessage.Shut) {
        int end = (int) (returned.bytesRead() - before);
        return switch (moment) {
          case BEFORE_SHUT -> Math.max(0, end - SHUT_BYTES);
          case AFTER_SHUT -> end;
          case IN_DEVICE_TAIL -> -1;
        };
      }
    }
    return -1;
  }

  /** What passes of a buffer, and nothing after it if the moment is in it. */
  private Flux<TransportBuffer> until(
      TransportBuffer buffer, ToIntFunction<ByteBuffer> moment, Mono<TransportBuffer> then) {
    int at = moment.applyAsInt(buffer.bytes());
    if (at < 0) {
      return Flux.just(buffer);
    }
    byte[] last = new byte[at];
    buffer.bytes().get(last);
    buffer.release();
    return Flux.just(TransportBuffer.of(ByteBuffer.wrap(last)))
        .concatWith(
            Mono.defer(
                () -> {
                  reached.complete(null);
                  return then;
                }));
  }

  /** What is not passed on is read all the same: so the end of the connection is heard. */
  private Flux<TransportBuffer> returned(TransportBuffer buffer) {
    if (reached.isDone()) {
      buffer.release();
      return Flux.empty();
    }
    return until(buffer, this::inReturnPath, Mono.empty());
  }

  private final class Watched implements Connection {

    private final Connection connection;

    Watched(Connection connection) {
      this.connection = connection;
    }

    @Override
    public Mono<Void> send(Flux<TransportBuffer> buffers) {
      return connection.send(
          buffers.concatMap(buffer -> until(buffer, StandStill.this::inStream, Mono.never()), 0));
    }

    @Override
    public Flux<TransportBuffer> receive() {
      return connection.receive().concatMap(StandStill.this::returned, 0);
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
