package io.pageflux.migration;

/** Where a migration is, with QEMU's names. */
public enum MigrationStatus {
  /** Connecting, agreeing on protocol and layout, preparing. */
  SETUP("setup"),
  /** Rounds are being sent while the guest runs. */
  ACTIVE("active"),
  /** The connection was lost, and another one is awaited; the guest runs. Pageflux's own. */
  RECONNECTING("reconnecting"),
  /** Somebody has paused the migration between two batches; the guest runs. Pageflux's own. */
  PAUSED("paused"),
  /**
   * The guest is paused, and somebody has to {@linkplain OutgoingMigration#continueMigration()
   * continue} the migration before the last round is sent.
   */
  PRE_SWITCHOVER("pre-switchover"),
  /** The guest is paused; the last round and the device state are being sent. */
  DEVICE("device"),
  /** The guest runs at the destination, and pages are still on their way to it. */
  POSTCOPY_ACTIVE("postcopy-active"),
  /**
   * The guest runs at the destination and lacks pages, but the two sides have lost one another:
   * what needs such a page waits or fails. The source's memory must be kept.
   */
  POSTCOPY_PAUSED("postcopy-paused"),
  /** The two sides have found one another again, and agree on which pages are missing. */
  POSTCOPY_RECOVER("postcopy-recover"),
  /** The guest runs at the destination, which has all of its memory. */
  COMPLETED("completed"),
  /** It went wrong. */
  FAILED("failed"),
  /** Somebody asked for it to stop. */
  CANCELLED("cancelled");

  private final String qemuName;

  MigrationStatus(String qemuName) {
    this.qemuName = qemuName;
  }

  /** {@return the name as in QEMU's {@code query-migrate}} */
  public String qemuName() {
    return qemuName;
  }
}
