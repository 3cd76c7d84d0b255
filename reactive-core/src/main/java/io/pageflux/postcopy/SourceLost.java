package io.pageflux.postcopy;

/**
 * What becomes of those who wait for pages when the source is lost for good: while a migration
 * {@linkplain io.pageflux.migration.IncomingSpec#withResume awaits} it, they wait.
 */
public enum SourceLost {
  /** They get an error, and so does everybody who asks for an absent page from then on. */
  FAIL,
  /**
   * They go on waiting, until the source is there again or their time is over. For guests whose
   * threads must not see an error, where somebody will bring the source back.
   */
  WAIT
}
