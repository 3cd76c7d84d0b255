package io.pageflux.examples.demo;

import io.pageflux.convergence.ConvergenceDecision;
import io.pageflux.convergence.ConvergencePolicy;
import io.pageflux.migration.MigrationEvent;
import io.pageflux.migration.RamStatistics;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;

/**
 * A line that is cut when a migration has come so far, and the next one, and so on. Each is cut
 * once: the next cut waits for the next line.
 */
final class CutLine implements Connector {

  private final Connector connector;
  private final int[] percents;
  private final AtomicReference<@Nullable Connection> last = new AtomicReference<>();
  private volatile int cuts; // written where events are told

  /**
   * Makes one of real lines.
   *
   * @param percents how much of the memory was read to be sent at each cut, ascending; of that, a
   *     few MiB have not been sent then
   */
  CutLine(Connector connector, int[] percents) {
    this.connector = connector;
    this.percents = percents.clone();
  }

  @Override
  public Mono<? extends Connection> connect() {
    return connector.connect().doOnNext(last::set);
  }

  /** Cuts the line if it is time to. */
  void cutIfDue(MigrationEvent event) {
    if (cuts == percents.length || !(event instanceof MigrationEvent.Progress progress)) {
      return;
    }
    RamStatistics ram = progress.info().ram();
    long read = ram.total() - ram.remaining();
    if (read < ram.total() / 100 * percents[cuts]) {
      return;
    }
    Connection line = last.getAndSet(null);
    if (line != null) {
      line.dispose();
      cuts++; // and only then the policy may decide for the switch-over
    }
  }

  /**
   * {@return a policy that does not switch over before the last cut} A line that is cut in the
   * hand-over is not made again: nobody would know where the guest is.
   */
  ConvergencePolicy.Maker untilCut(ConvergencePolicy.Maker policy) {
    return limits -> {
      ConvergencePolicy then = policy.make(limits);
      return figures -> {
        ConvergenceDecision decision = then.decide(figures);
        return decision instanceof ConvergenceDecision.SwitchOver && cuts < percents.length
            ? new ConvergenceDecision.Wait("the line is to be cut before")
            : decision;
      };
    };
  }

  /** {@return how often it was cut} */
  int cuts() {
    return cuts;
  }
}
