package io.pageflux.qemu.relay;

import io.pageflux.wire.WireRecord;
import java.time.Duration;

/** What both relays need to know of records. */
final class RelayRecords {

  /** How long a transport may take to let go of the batches that it was sending. */
  static final Duration RELEASE_TIMEOUT = Duration.ofSeconds(10);

  /** About what a record's header and description take. */
  private static final int OVERHEAD_BYTES = 64;

  private RelayRecords() {}

  /** About how many bytes a record takes between the relays. */
  static long bytes(WireRecord record) {
    return OVERHEAD_BYTES
        + switch (record) {
          case WireRecord.Pages pages -> pages.batch().storedBytes();
          case WireRecord.Stream stream -> stream.bytes().length;
          default -> 0;
        };
  }

  /** Whether the destination's relay counts a record when it has passed it on. */
  static boolean counts(WireRecord record) {
    return record instanceof WireRecord.Pages
        || record instanceof WireRecord.Stream
        || record instanceof WireRecord.Layout
        || record instanceof WireRecord.StreamEnd;
  }
}
