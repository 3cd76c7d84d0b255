package io.pageflux.migration;

import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.TransportBuffer;
import io.pageflux.transport.fault.Fault;
import io.pageflux.transport.fault.FaultPlan;
import io.pageflux.transport.fault.FaultyTransport;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/**
 * Connections to which something happens, and what arrives on them, as the connecting side has it.
 */
public final class TapedLine {

  private final Connector connector;
  private final Tape there = new Tape();
  private final Tape back = new Tape();

  /**
   * Makes a line.
   *
   * @param real makes the real connections
   * @param onItsWay what happens to what the connecting side sends
   * @param onItsWayBack what happens to what it receives
   */
  public TapedLine(Connector real, Fault onItsWay, Fault onItsWayBack) {
    FaultPlan plan = FaultPlan.of(onItsWay, onItsWayBack);
    Connector inner = () -> real.connect().map(connection -> new Taped(connection, there, null));
    Connector faulty = FaultyTransport.connector(inner, n -> plan, Schedulers.parallel());
    this.connector = () -> faulty.connect().map(connection -> new Taped(connection, null, back));
  }

  /** Makes the connections. */
  public Connector connector() {
    return connector;
  }

  /** What the connecting side sent, as it arrived. */
  public Tape there() {
    return there;
  }

  /** What the connecting side received. */
  public Tape back() {
    return back;
  }

  private record Taped(Connection real, @Nullable Tape sent, @Nullable Tape received)
      implements Connection {

    @Override
    public Mono<Void> send(Flux<TransportBuffer> buffers) {
      return real.send(sent == null ? buffers : buffers.map(sent::record));
    }

    @Override
    public Flux<TransportBuffer> receive() {
      return received == null ? real.receive() : real.receive().map(received::record);
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
