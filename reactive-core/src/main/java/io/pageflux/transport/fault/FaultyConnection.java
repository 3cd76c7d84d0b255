package io.pageflux.transport.fault;

import io.pageflux.MigrationException;
import io.pageflux.transport.Connection;
import io.pageflux.transport.TransportBuffer;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;

/** A connection to which something happens. */
final class FaultyConnection implements Connection {

  private final Connection real;
  private final Sinks.Empty<Void> closedHere = Sinks.empty();
  private final FaultyStream there;
  private final FaultyStream back;

  FaultyConnection(Connection real, FaultPlan plan, Scheduler timer, Runnable striking) {
    this.real = real;
    this.there =
        new FaultyStream(plan.there(), real::dispose, closedHere.asMono(), timer, striking);
    this.back = new FaultyStream(plan.back(), real::dispose, closedHere.asMono(), timer, striking);
  }

  @Override
  public Mono<Void> send(Flux<TransportBuffer> buffers) {
    return real.send(there.through(buffers))
        .onErrorResume(e -> there.unlessSilent(Mono.error(e)))
        .then(Mono.defer(this::sent));
  }

  private Mono<Void> sent() {
    if (!there.hasEnded()) {
      return there.unlessSilent(Mono.empty());
    }
    real.dispose();
    return Mono.error(
        MigrationException.of(
            MigrationException.Kind.TRANSPORT,
            "the connection to " + peer() + " broke in sending"));
  }

  @Override
  public Flux<TransportBuffer> receive() {
    return back.through(real.receive())
        .concatWith(
            Mono.fromRunnable(
                () -> {
                  if (back.hasEnded()) {
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
    closedHere.tryEmitEmpty();
    real.dispose();
  }

  @Override
  public Mono<Void> onDispose() {
    return real.onDispose();
  }

  @Override
  public String toString() {
    return "FaultyConnection[" + real + "]";
  }
}
