package io.pageflux.channel;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.page.SlabPool;
import java.time.Duration;
import reactor.core.publisher.Mono;

/**
 * The end of a pool of slabs: whoever has some in hands lets go of them soon, or never does, and
 * nobody is to wait for that.
 */
public final class SlabRelease {

  /** How long those may take who have slabs in hands that they are to release. */
  private static final Duration PATIENCE = Duration.ofSeconds(10);

  private SlabRelease() {}

  /**
   * {@return completes when the pool is closed; fails when it is not in time, and its memory is
   * left}
   *
   * @param what the slabs hold, for the message
   */
  public static Mono<Void> of(SlabPool pool, String what) {
    return pool.closeWhenIdle()
        .timeout(
            PATIENCE,
            Mono.error(
                () ->
                    MigrationException.of(
                        Kind.INTERNAL,
                        what + " were not released: " + pool + "; their memory is not freed")));
  }
}
