package io.pageflux.examples.bench.qemu;

import java.util.Map;

/**
 * One migration, as it was measured.
 *
 * @param totalMillis as the source's QEMU reports it
 * @param downtimeMillis as the source's QEMU reports it
 * @param silenceMillis from the guest's last heartbeat at the source to its first at the
 *     destination: its downtime to a clock outside, and up to one period more
 * @param wireBytes sent by the source's end of the link, frames and all
 * @param passes how often the source went through its dirty pages
 */
record Move(
    double totalMillis,
    double downtimeMillis,
    double silenceMillis,
    double wireBytes,
    long passes) {

  Map<String, Object> json() {
    return Map.of(
        "total-time", totalMillis,
        "downtime", downtimeMillis,
        "silence", silenceMillis,
        "wire-bytes", wireBytes,
        "passes", passes);
  }

  @Override
  public String toString() {
    return "%.2f s, %.1f MB on the wire, downtime %.0f ms (silence %.0f ms), %d passes"
        .formatted(totalMillis / 1e3, wireBytes / 1e6, downtimeMillis, silenceMillis, passes);
  }
}
