package io.pageflux.examples.demo;

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
  private int cuts;

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
      cuts++;
      line.dispose();
    }
  }

  /** {@return how often it was cut} */
  int cuts() {
    return cuts;
  }
}
