package io.pageflux.transport.fault;

import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.IntConsumer;
import java.util.function.IntFunction;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;

/**
 * Makes things happen to connections.
 *
 * <p>A wrapped connection keeps to the contract of {@link Connection}, but for what its plan says.
 *
 * <p><b>Demand:</b> a direction to which something happens is asked for one buffer at a time; one
 * to which nothing does is not touched.
 *
 * <p><b>Ordering and threading:</b> in order, on the real connection's threads, and on the given
 * scheduler after a delay, which must not be blocked.
 *
 * <p><b>Memory bound:</b> one buffer a direction, and a copy of the one whose bit is flipped.
 *
 * <p><b>Discard and cancel:</b> a buffer that is swallowed, cut off or held is released, at the
 * latest when this side disposes the connection.
 *
 * <p><b>Errors:</b> those of the real connection, unless the direction has fallen silent: then
 * nothing is told of it before this side disposes the connection.
 */
public final class FaultyTransport {

  private FaultyTransport() {}

  /**
   * Wraps one connection.
   *
   * @param timer for what takes time; not disposed
   */
  public static Connection connection(Connection real, FaultPlan plan, Scheduler timer) {
    return new FaultyConnection(
        Objects.requireNonNull(real, "real"),
        Objects.requireNonNull(plan, "plan"),
        Objects.requireNonNull(timer, "timer"),
        () -> {});
  }

  /**
   * Wraps what a connector makes.
   *
   * @param plans what happens to its connections, which are counted from 0; asked once for each
   * @param timer for what takes time; not disposed
   */
  public static Connector connector(Connector real, IntFunction<FaultPlan> plans, Scheduler timer) {
    return connector(real, plans, timer, number -> {});
  }

  /**
   * Wraps what a connector makes, for somebody who does something else at the same place.
   *
   * @param plans what happens to its connections, which are counted from 0; asked once for each
   * @param timer for what takes time; not disposed
   * @param striking told a connection's number when the place of a fault of it has come, before
   *     anything else happens there, on the thread on which the bytes pass
   */
  public static Connector connector(
      Connector real, IntFunction<FaultPlan> plans, Scheduler timer, IntConsumer striking) {
    AtomicInteger count = new AtomicInteger();
    return () ->
        Mono.defer(
            () -> {
              int number = count.getAndIncrement();
              FaultPlan plan = plans.apply(number);
              return delay(plan.connectDelay(), timer)
                  // Nothing is made before: who cancels meanwhile leaves no connection behind.
                  .then(Mono.<Connection>defer(() -> real.connect().map(c -> c)))
                  .map(
                      connection ->
                          new FaultyConnection(
                              connection, plan, timer, () -> striking.accept(number)));
            });
  }

  /**
   * Wraps what an acceptor accepts. {@link FaultPlan#connectDelay()} is of no effect.
   *
   * @param plans what happens to its connections, which are counted from 0; asked once for each
   * @param timer for what takes time; not disposed
   */
  public static Acceptor acceptor(Acceptor real, IntFunction<FaultPlan> plans, Scheduler timer) {
    AtomicInteger count = new AtomicInteger();
    return new Acceptor() {
      @Override
      public Mono<Connection> accept() {
        return real.accept()
            .map(connection -> connection(connection, plans.apply(count.getAndIncrement()), timer));
      }

      @Override
      public String address() {
        return real.address();
      }

      @Override
      public void dispose() {
        real.dispose();
      }
    };
  }

  private static Mono<Void> delay(Duration time, Scheduler timer) {
    return time.isZero() ? Mono.empty() : Mono.delay(time, timer).then();
  }

  /**
   * Accepts connections in another order than they were made in: gathers as many as are to come,
   * and hands them out in an order drawn from a seed.
   *
   * <p><b>Memory bound:</b> {@code connections} connections that wait.
   *
   * @param connections how many, 1 to {@value io.pageflux.transport.AcceptQueue#MAX_WAITING}; then
   *     as many again
   * @param patience how long the next one is waited for; those that have come are handed out then
   * @param timer for that; not disposed
   */
  public static Acceptor reordering(
      Acceptor real, int connections, long seed, Duration patience, Scheduler timer) {
    return new ReorderingAcceptor(real, connections, seed, patience, timer);
  }
}
