package io.pageflux.migration;

import reactor.core.publisher.Mono;

/**
 * What somebody wants done before and after each round, at either side: what QEMU's transports do
 * in their {@code before_ram_iterate} and {@code after_ram_iterate}.
 *
 * <p>The round waits for what is returned. It is subscribed to on a thread that may block, and has
 * the spec's {@code peerTimeout}; then it is cancelled. If it fails, throws, or takes too long, the
 * migration fails with a reason that names the hook and the round, and the guest goes on at the
 * source. It is cancelled, too, when the migration ends otherwise meanwhile.
 *
 * <ul>
 *   <li>At the source, {@link #beforeRound} comes when the round's pages are fixed, before anything
 *       of it is sent, and {@link #afterRound} when the destination has acknowledged the round,
 *       before the next dirty pages are collected.
 *   <li>At the destination, {@link #beforeRound} comes before the first of the round's pages is
 *       applied, and {@link #afterRound} when all are, before the round is acknowledged.
 * </ul>
 *
 * <p>In the last round the guest is paused: what hooks take then is downtime.
 */
public interface MigrationHooks {

  /** Hooks that do nothing. */
  MigrationHooks NONE = new MigrationHooks() {};

  /**
   * A round that begins.
   *
   * @param round its number, from 1
   * @param last whether the guest is paused
   * @param dirtyPages pages that are dirty
   */
  record Round(int round, boolean last, long dirtyPages) {}

  /** {@return what is to be done before a round} */
  default Mono<Void> beforeRound(Round round) {
    return Mono.empty();
  }

  /** {@return what is to be done after a round} */
  default Mono<Void> afterRound(RoundReport report) {
    return Mono.empty();
  }
}
