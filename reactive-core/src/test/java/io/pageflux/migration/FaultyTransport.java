package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.TransportBuffer;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * Makes connections to which something happens, out of any transport's: one fault for what the
 * connecting side sends, and one for what it receives. Both directions are recorded.
 */
public final class FaultyTransport {

  private final Connector connector;
  private final Fault there;
  private final Fault back;
  private final Tape thereTape = new Tape();
  private final Tape backTape = new Tape();

  /**
   * Makes a transport.
   *
   * @param connector makes the real connections
   * @param there what happens to what the connecting side sends
   * @param back what happens to what it receives
   */
  public FaultyTransport(Connector connector, Fault there, Fault back) {
    this.connector = connector;
    this.there = there;
    this.back = back;
  }

  /** Makes the connections. */
  public Connector connector() {
    return () -> connector.connect().map(FaultyConnection::new);
  }

  /** What the connecting side sent, as it arrived. */
  public Tape there() {
    return thereTape;
  }

  /** What the connecting side received. */
  public Tape back() {
    return backTape;
  }

  private final class FaultyConnection implements Connection {

    private final Connection real;

    FaultyConnection(Connection real) {
      this.real = real;
    }

    @Override
    public Mono<Void> send(Flux<TransportBuffer> buffers) {
      Fault.Stream stream = there.stream(thereTape, real::dispose);
      return real.send(stream.through(buffers)).then(Mono.defer(() -> afterSending(stream)));
    }

    private Mono<Void> afterSending(Fault.Stream stream) {
      if (!stream.hasEnded()) {
        return Mono.empty();
      }
      real.dispose();
      return Mono.error(
          MigrationException.of(MigrationException.Kind.TRANSPORT, "the line broke in sending"));
    }

    @Override
    public Flux<TransportBuffer> receive() {
      Fault.Stream stream = back.stream(backTape, real::dispose);
      return stream
          .through(real.receive())
          .concatWith(
              Mono.fromRunnable(
                  () -> {
                    if (stream.hasEnded()) {
                      real.dispose();
                    }
                  }));
    }

    @Override
    public String peer() {
      return real.peer();
    }

    @Override
    public void dispose() {
      real.dispose();
    }

    @Override
    public Mono<Void> onDispose() {
      return real.onDispose();
    }
  }
}
