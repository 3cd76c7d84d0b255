package io.pageflux.qemu.stream;

/** Learns of every page record when it was read whole. */
interface RecordListener {

  /** For whoever does not care. */
  RecordListener NONE = (_, _, _, _) -> {};

  /**
   * A page record was read.
   *
   * @param block the block's place among those that have pages
   * @param page the page's index in it
   * @param bytes of the stream, from the record's address to its last byte
   */
  void read(QemuRecordType type, int block, long page, long bytes);
}
