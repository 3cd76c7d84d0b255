package io.pageflux.qemu.postcopy;

/** What a guest that is resumed lazily is doing. */
public enum PostcopyStatus {
  /** The destination's QEMU is being connected to, and prepares itself. Nothing runs. */
  STARTING,
  /** The devices' state is on its way: from here on the guest may run at the destination. */
  HANDING_OVER,
  /** The guest has its devices, and runs while its pages come. */
  ACTIVE,
  /** The connection is lost: the guest stands still at the destination, until it is recovered. */
  PAUSED,
  /** The destination says what it has. */
  RECOVERING,
  /** The destination has everything, and has said so. */
  COMPLETED
}
