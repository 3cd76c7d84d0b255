package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.wire.Feature;
import io.pageflux.wire.Negotiation;
import io.pageflux.wire.WireLimits;
import io.pageflux.wire.WireRecord;
import org.jspecify.annotations.Nullable;

/**
 * What the destination says of itself, and whether the source suits it.
 *
 * @param said what is said to the source, before anything is required of it: even if they do not
 *     suit one another the peer is to know what we are
 * @param offer the memory that the source may write to itself; null for none
 */
record IncomingHello(WireRecord.Hello said, WireRecord.@Nullable Offer offer) {

  /** {@return the answer to a source} */
  static IncomingHello to(WireRecord.Hello theirs, IncomingSpec spec, boolean resumes) {
    WireRecord.Offer offer =
        spec.sharedMemory() && !resumes ? SharedFiles.offer(spec.memory()) : null;
    boolean postcopy = spec.postcopy() != null;
    boolean resume = spec.resume() != null;
    boolean reuse = spec.reuse() && !resumes && offer == null && !postcopy;
    long features =
        Feature.migration()
            | (offer == null ? 0 : Feature.SHARED_MEMORY.mask())
            | (postcopy ? Feature.POSTCOPY.mask() : 0)
            | (resume ? Feature.RESUME.mask() : 0)
            | (postcopy && resume ? Feature.POSTCOPY_RESUME.mask() : 0)
            | (reuse ? Feature.REUSE.mask() : 0);
    return new IncomingHello(
        new WireRecord.Hello(
            WireLimits.VERSION,
            WireLimits.VERSION,
            features,
            0,
            theirs.session(),
            theirs.channel(),
            theirs.channels(),
            WireLimits.SOFTWARE),
        offer);
  }

  /**
   * {@return the features that both sides have}
   *
   * @throws MigrationException if the source does not suit this side
   */
  long agreedWith(WireRecord.Hello theirs) {
    return Negotiation.ofOneConnection(said, theirs).features();
  }
}
