package io.pageflux.examples.cli;

/** A failure whose message is all that the user needs to see. */
public final class CliException extends RuntimeException {

  private static final long serialVersionUID = 1L;

  private final int exitCode;

  /** A failure with {@link ExitCode#FAILED}. */
  public CliException(String message) {
    this(message, ExitCode.FAILED);
  }

  /** A failure with an exit code. */
  public CliException(String message, int exitCode) {
    super(message);
    this.exitCode = exitCode;
  }

  /** A failure with {@link ExitCode#FAILED}, and what caused it. */
  public CliException(String message, Throwable cause) {
    super(message, cause);
    this.exitCode = ExitCode.FAILED;
  }

  /** {@return what the program exits with} */
  public int exitCode() {
    return exitCode;
  }
}
