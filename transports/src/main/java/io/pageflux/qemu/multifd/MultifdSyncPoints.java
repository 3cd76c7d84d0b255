package io.pageflux.qemu.multifd;

/** Which records of the main channel are sync points: each goes with a SYNC on every channel. */
public enum MultifdSyncPoints {
  /** The end of every section's RAM data: up to QEMU 8.0, and machine types up to 8.0. */
  EVERY_SECTION,
  /** The record MULTIFD_FLUSH, once in the first section and once in each round: since QEMU 8.1. */
  FLUSH_RECORD
}
