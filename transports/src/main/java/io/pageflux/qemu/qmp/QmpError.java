package io.pageflux.qemu.qmp;

/**
 * The error that QEMU answered a command with, in QEMU's own words. It is the cause of the {@link
 * io.pageflux.MigrationException} that the command fails with.
 */
public final class QmpError extends RuntimeException {

  private static final long serialVersionUID = 1L;

  private final String command;
  private final String errorClass;
  private final String description;

  QmpError(String command, String errorClass, String description) {
    super(errorClass + ": " + description, null, false, false);
    this.command = command;
    this.errorClass = errorClass;
    this.description = description;
  }

  /** {@return the command that QEMU refused} */
  public String command() {
    return command;
  }

  /** {@return the class of the error, such as {@code GenericError} or {@code CommandNotFound}} */
  public String errorClass() {
    return errorClass;
  }

  /** {@return what QEMU says about it} */
  public String description() {
    return description;
  }
}
