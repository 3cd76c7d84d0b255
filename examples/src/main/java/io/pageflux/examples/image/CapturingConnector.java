package io.pageflux.examples.image;

import io.pageflux.MigrationException;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.TransportBuffer;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * Writes what is sent into a file as well, for {@code pageflux inspect}.
 *
 * <p>The file is written on the transport's thread, before the socket: it shows what was said last
 * when something goes wrong, and slows a migration down. So it is for looking into things only.
 */
final class CapturingConnector implements Connector {

  private final Connector connector;
  private final Path file;

  CapturingConnector(Connector connector, Path file) {
    this.connector = connector;
    this.file = file;
  }

  /** {@return the connector, with its connections captured if there is a file for that} */
  static Connector of(Connector connector, @Nullable Path file) {
    return file == null ? connector : new CapturingConnector(connector, file);
  }

  @Override
  public Mono<? extends Connection> connect() {
    return Mono.<Connection>from(connector.connect()).map(Captured::new);
  }

  private final class Captured implements Connection {

    private final Connection connection;

    Captured(Connection connection) {
      this.connection = connection;
    }

    @Override
    public Mono<Void> send(Flux<TransportBuffer> buffers) {
      return Mono.using(
          () ->
              FileChannel.open(
                  file,
                  StandardOpenOption.CREATE,
                  StandardOpenOption.TRUNCATE_EXISTING,
                  StandardOpenOption.WRITE),
          copy ->
              connection.send(
                  buffers
                      .doOnNext(buffer -> write(buffer, copy))
                      .doOnDiscard(TransportBuffer.class, TransportBuffer::release)));
    }

    private void write(TransportBuffer buffer, FileChannel copy) {
      ByteBuffer bytes = buffer.bytes().duplicate();
      try {
        while (bytes.hasRemaining()) {
          copy.write(bytes);
        }
      } catch (IOException e) {
        buffer.release(); // the operator that calls this drops it
        throw MigrationException.of(
            MigrationException.Kind.INTERNAL, "cannot write the capture " + file + ": " + e, e);
      }
    }

    @Override
    public Flux<TransportBuffer> receive() {
      return connection.receive();
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
