package io.pageflux.qemu.stream;

import io.pageflux.memory.PageSet;

/** What a destination's QEMU says to its source. Blocks are places in the layout of the stream. */
public sealed interface QemuReturnMessage {

  /**
   * The destination has ended the migration.
   *
   * @param value 0 for success
   */
  record Shut(int value) implements QemuReturnMessage {}

  /**
   * The answer to a ping.
   *
   * @param value the ping's
   */
  record Pong(int value) implements QemuReturnMessage {}

  /**
   * Somebody waits for these pages; within the block.
   *
   * @param block its place among those that have pages
   * @param firstPage the first one's index
   * @param pages how many, at least 1
   */
  record PageRequest(int block, long firstPage, long pages) implements QemuReturnMessage {}

  /**
   * Which pages of a block have arrived, and are in their place.
   *
   * @param block its place among those that have pages
   */
  record ReceivedPages(int block, PageSet pages) implements QemuReturnMessage {}

  /** The destination is ready to go on after the connection was lost. */
  record ResumeAck() implements QemuReturnMessage {}

  /** The destination agrees to the guest's moving; since QEMU 8.1. */
  record SwitchoverAck() implements QemuReturnMessage {}
}
