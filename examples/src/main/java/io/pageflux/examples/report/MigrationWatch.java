package io.pageflux.examples.report;

import io.pageflux.MigrationException;
import io.pageflux.migration.MigrationEvent;
import io.pageflux.migration.MigrationInfo;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;

/** Follows a migration to its end and remembers what was heard of it last. For one migration. */
public final class MigrationWatch {

  private final Consumer<MigrationEvent> listener;
  private volatile @Nullable MigrationInfo last;

  /**
   * @param listener learns of each event, one at a time
   */
  public MigrationWatch(Consumer<MigrationEvent> listener) {
    this.listener = listener;
  }

  /** {@return how the migration was when something was heard of it last; null if nothing was} */
  public @Nullable MigrationInfo last() {
    return last;
  }

  /**
   * Waits for the end.
   *
   * @return the migration, completed
   * @throws MigrationException if it failed
   */
  public MigrationInfo follow(Flux<MigrationEvent> events) {
    MigrationEvent end = events.doOnNext(this::heard).blockLast();
    if (end instanceof MigrationEvent.Completed completed) {
      return completed.info();
    }
    throw MigrationException.of(
        MigrationException.Kind.INTERNAL, "the migration ended without saying how: " + end);
  }

  private void heard(MigrationEvent event) {
    switch (event) {
      case MigrationEvent.Progress progress -> last = progress.info();
      case MigrationEvent.Completed completed -> last = completed.info();
      default -> {}
    }
    listener.accept(event);
  }
}
