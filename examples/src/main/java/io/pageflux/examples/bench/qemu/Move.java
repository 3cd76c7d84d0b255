package io.pageflux.examples.bench.qemu;

import java.util.Map;

/**
 * One migration, as it was measured.
 *
 * @param arrivedMillis from the order to migrate to the guest's first heartbeat at the destination
 * @param totalMillis as the source's QEMU reports it. Without a return path, to QEMU everything is
 *     over when its socket has taken the last bytes, which is some time before they arrive
 * @param downtimeMillis as the source's QEMU reports it
 * @param silenceMillis from the guest's last heartbeat at the source to its first at the
 *     destination: its downtime to a clock outside, and up to one period more
 * @param wireBytes sent by the source's end of the link, frames and all
 * @param passes how often the source went through its dirty pages
 */
record Move(
    double arrivedMillis,
    double totalMillis,
    double downtimeMillis,
    double silenceMillis,
    double wireBytes,
    long passes) {

  Map<String, Object> json() {
    return Map.of(
        "arrived", arrivedMillis,
        "total-time", totalMillis,
        "downtime", downtimeMillis,
        "silence", silenceMillis,
        "wire-bytes", wireBytes,
        "passes", passes);
  }

  @Override
  public String toString() {
    return "%.2f s (QEMU: %.2f s), %.1f MB on the wire, downtime %.0f ms (silence %.0f ms), %d passes"
        .formatted(
            arrivedMillis / 1e3,
            totalMillis / 1e3,
            wireBytes / 1e6,
            downtimeMillis,
            silenceMillis,
            passes);
  }
}
