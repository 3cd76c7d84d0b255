package io.pageflux.migration;

import io.pageflux.wire.Feature;
import io.pageflux.wire.WireLimits;
import io.pageflux.wire.WireRecord;
import java.util.UUID;

/** What the source says of itself. */
final class OutgoingHello {

  private OutgoingHello() {}

  /**
   * {@return the first record of a connection}
   *
   * @param controlled whether what is not used may be switched on later
   */
  static WireRecord.Hello of(OutgoingSpec spec, boolean controlled, UUID session) {
    OutgoingLifecycle lifecycle = spec.lifecycle();
    boolean postcopy = lifecycle.postcopy() != null;
    boolean resume = lifecycle.resume() != null;
    boolean xbzrle = controlled || spec.xbzrle() != null;
    boolean zstd = controlled || spec.compression() != null;
    long features =
        (controlled ? Feature.migration() : 0)
            | (xbzrle ? Feature.XBZRLE.mask() : 0)
            | (zstd ? Feature.ZSTD.mask() : 0)
            | (lifecycle.pageSaver() == null ? 0 : Feature.SHARED_MEMORY.mask())
            | (postcopy ? Feature.POSTCOPY.mask() : Feature.REUSE.mask())
            | (resume ? Feature.RESUME.mask() : 0)
            | (postcopy && resume ? Feature.POSTCOPY_RESUME.mask() : 0);
    return new WireRecord.Hello(
        WireLimits.VERSION, WireLimits.VERSION, features, 0, session, 0, 1, WireLimits.SOFTWARE);
  }
}
