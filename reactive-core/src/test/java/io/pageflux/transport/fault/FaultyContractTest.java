package io.pageflux.transport.fault;

import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connector;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.TransportContract;
import org.junit.jupiter.api.AfterEach;
import reactor.core.scheduler.Schedulers;

/** Connections whose faults never come are connections like any other. */
class FaultyContractTest implements TransportContract {

  private static final FaultPlan FAR = FaultPlan.of(Fault.flip(1L << 60), Fault.cutAfter(1L << 60));

  private final InMemoryTransport transport = InMemoryTransport.create();
  private final Acceptor acceptor =
      FaultyTransport.acceptor(transport.acceptor(), n -> FAR, Schedulers.parallel());

  @AfterEach
  void dispose() {
    acceptor.dispose();
  }

  @Override
  public Acceptor acceptor() {
    return acceptor;
  }

  @Override
  public Connector connector() {
    return FaultyTransport.connector(transport.connector(), n -> FAR, Schedulers.parallel());
  }

  @Override
  public int window() {
    // One is held on either side, besides those that the transport takes ahead.
    return InMemoryTransport.DEFAULT_PREFETCH_BUFFERS + 2;
  }

  @Override
  public long bytesOnTheWay() {
    return 0;
  }
}
