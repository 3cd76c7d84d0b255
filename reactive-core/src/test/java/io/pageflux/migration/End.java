package io.pageflux.migration;

import io.pageflux.MigrationException;
import java.time.Duration;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;

/** How a side ended: with a report or with an error. */
record End(@Nullable MigrationInfo info, @Nullable Throwable error) {

  static final Duration LIMIT = Duration.ofSeconds(30);

  static End of(Mono<MigrationInfo> migration) {
    var signal = Objects.requireNonNull(migration.materialize().block(LIMIT));
    return new End(signal.get(), signal.getThrowable());
  }

  MigrationException failure() {
    if (!(error instanceof MigrationException failure)) {
      throw new AssertionError("a MigrationException was to come, but: " + this, error);
    }
    return failure;
  }

  String message() {
    return String.valueOf(failure().getMessage());
  }
}
