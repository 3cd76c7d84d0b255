package io.pageflux.examples.cli;

/** What the program's exit codes mean. */
public final class ExitCode {

  /** It worked. */
  public static final int OK = 0;

  /** It failed; where a guest was to be migrated, it goes on at the source. */
  public static final int FAILED = 1;

  /** The command line makes no sense. */
  public static final int USAGE = 2;

  /**
   * The connection broke while the guest was handed over: it is paused at the source and may, or
   * may not, run at the destination.
   */
  public static final int UNDECIDED = 3;

  /** Interrupted by Ctrl-C; 143 if it was SIGTERM. */
  public static final int INTERRUPTED = 130;

  private ExitCode() {}
}
