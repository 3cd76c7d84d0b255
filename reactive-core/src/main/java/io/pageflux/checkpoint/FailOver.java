package io.pageflux.checkpoint;

/** What the destination does when the source is lost. */
public enum FailOver {

  /** Says which checkpoint it holds, and starts nothing. */
  REPORT,

  /**
   * Starts the guest from that checkpoint, when the connection broke or the source has been silent
   * for too long, and not when either side ended the session for another reason.
   *
   * <p>A source that was merely cut off goes on with the guest. Whoever asks for this has to make
   * sure by other means that it cannot: see the package's documentation.
   */
  START
}
