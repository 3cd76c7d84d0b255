package io.pageflux.migration;

import io.pageflux.codec.XbzrleSpec;
import io.pageflux.dirty.DirtyTracker;
import io.pageflux.dirty.DirtyTrackers;
import io.pageflux.dirty.TrackingSpec;
import io.pageflux.memory.GuestMemory;
import io.pageflux.page.BatchGeometry;
import io.pageflux.transport.Connector;
import java.time.Duration;
import java.util.Objects;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Everything that an {@link OutgoingMigration} is built from. Immutable: each {@code with} method
 * returns a new one.
 *
 * @param memory the guest's memory; stays the caller's
 * @param guest the guest
 * @param connector leads to the destination
 * @param tracker makes the tracker of writes, once for each subscription
 * @param xbzrle the delta cache; null to send no deltas
 * @param compression compression; null to send contents as they are
 * @param maxBandwidth bytes per second on the wire at the most; 0 for no limit
 * @param downtimeLimit the guest is paused when the estimated downtime is within this
 * @param maxRounds how many rounds are sent while the guest runs before {@code limitPolicy} decides
 * @param timeout how long rounds are sent while the guest runs before {@code limitPolicy} decides
 * @param limitPolicy what happens then
 * @param peerTimeout how long the destination may say nothing at all before it is given up
 * @param geometry the batches' limits
 * @param slabs how many batches there are at the most; with the geometry, the bound of the memory
 *     that pages in flight occupy
 * @param progressInterval how often a {@link MigrationEvent.Progress} is due
 */
public record OutgoingSpec(
    GuestMemory memory,
    Guest guest,
    Connector connector,
    Function<GuestMemory, DirtyTracker> tracker,
    @Nullable XbzrleSpec xbzrle,
    @Nullable CompressionSpec compression,
    long maxBandwidth,
    Duration downtimeLimit,
    int maxRounds,
    Duration timeout,
    LimitPolicy limitPolicy,
    Duration peerTimeout,
    BatchGeometry geometry,
    int slabs,
    Duration progressInterval) {

  /** What is done with a guest that cannot be paused within the downtime limit in the end. */
  public enum LimitPolicy {
    /** Pause it all the same; the downtime will be longer than was asked for. */
    SWITCH_OVER,
    /** Give up; the guest goes on at the source. */
    ABORT
  }

  /** QEMU's default. */
  public static final Duration DEFAULT_DOWNTIME_LIMIT = Duration.ofMillis(300);

  /** Rounds before the policy decides. */
  public static final int DEFAULT_MAX_ROUNDS = 100;

  /** Time before the policy decides. */
  public static final Duration DEFAULT_TIMEOUT = Duration.ofHours(1);

  /** Silence before the peer is given up. */
  public static final Duration DEFAULT_PEER_TIMEOUT = Duration.ofSeconds(15);

  /** Batches in flight: about 4 MiB with the default geometry. */
  public static final int DEFAULT_SLABS = 16;

  /** The fewest batches that a pipeline with compression workers makes progress with. */
  public static final int MIN_SLABS = 2;

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if one is out of range
   */
  public OutgoingSpec {
    Objects.requireNonNull(memory, "memory");
    Objects.requireNonNull(guest, "guest");
    Objects.requireNonNull(connector, "connector");
    Objects.requireNonNull(tracker, "tracker");
    Objects.requireNonNull(limitPolicy, "limitPolicy");
    if (maxBandwidth < 0) {
      throw new IllegalArgumentException("maxBandwidth >= 0 required but it was " + maxBandwidth);
    }
    if (maxRounds < 1) {
      throw new IllegalArgumentException("maxRounds > 0 required but it was " + maxRounds);
    }
    if (slabs < MIN_SLABS) {
      throw new IllegalArgumentException("slabs >= " + MIN_SLABS + " required but it was " + slabs);
    }
    requirePositive(timeout, "timeout");
    requirePositive(peerTimeout, "peerTimeout");
    requirePositive(progressInterval, "progressInterval");
    if (downtimeLimit.isNegative()) {
      throw new IllegalArgumentException("downtimeLimit >= 0 required but it was " + downtimeLimit);
    }
    if (geometry.pagesPerBatch(memory.layout().largestPageSizeBytes()) < 1) {
      throw new IllegalArgumentException(
          "a batch of %d bytes cannot hold a page of %d bytes"
              .formatted(geometry.payloadBytes(), memory.layout().largestPageSizeBytes()));
    }
  }

  static void requirePositive(Duration duration, String name) {
    if (duration.isNegative() || duration.isZero()) {
      throw new IllegalArgumentException(name + " > 0 required but it was " + duration);
    }
  }

  /**
   * {@return a spec with the defaults: writes tracked by the best means there is, XBZRLE with 64
   * MiB, zstd at level 1 in two threads, no bandwidth limit, 300 ms of downtime}
   */
  public static OutgoingSpec of(GuestMemory memory, Guest guest, Connector connector) {
    return new OutgoingSpec(
        memory,
        guest,
        connector,
        m -> DirtyTrackers.choose(m, TrackingSpec.DEFAULT).tracker(),
        XbzrleSpec.DEFAULT,
        CompressionSpec.DEFAULT,
        0,
        DEFAULT_DOWNTIME_LIMIT,
        DEFAULT_MAX_ROUNDS,
        DEFAULT_TIMEOUT,
        LimitPolicy.SWITCH_OVER,
        DEFAULT_PEER_TIMEOUT,
        BatchGeometry.forPageSize(memory.layout().largestPageSizeBytes()),
        DEFAULT_SLABS,
        Duration.ofMillis(500));
  }

  /** {@return this spec with another maker of trackers} */
  public OutgoingSpec withTracker(Function<GuestMemory, DirtyTracker> tracker) {
    return new OutgoingSpec(
        memory,
        guest,
        connector,
        tracker,
        xbzrle,
        compression,
        maxBandwidth,
        downtimeLimit,
        maxRounds,
        timeout,
        limitPolicy,
        peerTimeout,
        geometry,
        slabs,
        progressInterval);
  }

  /** {@return this spec with another delta cache; null for none} */
  public OutgoingSpec withXbzrle(@Nullable XbzrleSpec xbzrle) {
    return new OutgoingSpec(
        memory,
        guest,
        connector,
        tracker,
        xbzrle,
        compression,
        maxBandwidth,
        downtimeLimit,
        maxRounds,
        timeout,
        limitPolicy,
        peerTimeout,
        geometry,
        slabs,
        progressInterval);
  }

  /** {@return this spec with another compression; null for none} */
  public OutgoingSpec withCompression(@Nullable CompressionSpec compression) {
    return new OutgoingSpec(
        memory,
        guest,
        connector,
        tracker,
        xbzrle,
        compression,
        maxBandwidth,
        downtimeLimit,
        maxRounds,
        timeout,
        limitPolicy,
        peerTimeout,
        geometry,
        slabs,
        progressInterval);
  }

  /** {@return this spec with another limit in bytes per second; 0 for none} */
  public OutgoingSpec withMaxBandwidth(long maxBandwidth) {
    return new OutgoingSpec(
        memory,
        guest,
        connector,
        tracker,
        xbzrle,
        compression,
        maxBandwidth,
        downtimeLimit,
        maxRounds,
        timeout,
        limitPolicy,
        peerTimeout,
        geometry,
        slabs,
        progressInterval);
  }

  /** {@return this spec with another downtime limit} */
  public OutgoingSpec withDowntimeLimit(Duration downtimeLimit) {
    return new OutgoingSpec(
        memory,
        guest,
        connector,
        tracker,
        xbzrle,
        compression,
        maxBandwidth,
        downtimeLimit,
        maxRounds,
        timeout,
        limitPolicy,
        peerTimeout,
        geometry,
        slabs,
        progressInterval);
  }

  /** {@return this spec with another number of rounds} */
  public OutgoingSpec withMaxRounds(int maxRounds) {
    return new OutgoingSpec(
        memory,
        guest,
        connector,
        tracker,
        xbzrle,
        compression,
        maxBandwidth,
        downtimeLimit,
        maxRounds,
        timeout,
        limitPolicy,
        peerTimeout,
        geometry,
        slabs,
        progressInterval);
  }

  /** {@return this spec with another timeout} */
  public OutgoingSpec withTimeout(Duration timeout) {
    return new OutgoingSpec(
        memory,
        guest,
        connector,
        tracker,
        xbzrle,
        compression,
        maxBandwidth,
        downtimeLimit,
        maxRounds,
        timeout,
        limitPolicy,
        peerTimeout,
        geometry,
        slabs,
        progressInterval);
  }

  /** {@return this spec with another policy} */
  public OutgoingSpec withLimitPolicy(LimitPolicy limitPolicy) {
    return new OutgoingSpec(
        memory,
        guest,
        connector,
        tracker,
        xbzrle,
        compression,
        maxBandwidth,
        downtimeLimit,
        maxRounds,
        timeout,
        limitPolicy,
        peerTimeout,
        geometry,
        slabs,
        progressInterval);
  }

  /** {@return this spec with another patience with a silent peer} */
  public OutgoingSpec withPeerTimeout(Duration peerTimeout) {
    return new OutgoingSpec(
        memory,
        guest,
        connector,
        tracker,
        xbzrle,
        compression,
        maxBandwidth,
        downtimeLimit,
        maxRounds,
        timeout,
        limitPolicy,
        peerTimeout,
        geometry,
        slabs,
        progressInterval);
  }

  /** {@return this spec with other batches} */
  public OutgoingSpec withGeometry(BatchGeometry geometry) {
    return new OutgoingSpec(
        memory,
        guest,
        connector,
        tracker,
        xbzrle,
        compression,
        maxBandwidth,
        downtimeLimit,
        maxRounds,
        timeout,
        limitPolicy,
        peerTimeout,
        geometry,
        slabs,
        progressInterval);
  }

  /** {@return this spec with another number of batches in flight} */
  public OutgoingSpec withSlabs(int slabs) {
    return new OutgoingSpec(
        memory,
        guest,
        connector,
        tracker,
        xbzrle,
        compression,
        maxBandwidth,
        downtimeLimit,
        maxRounds,
        timeout,
        limitPolicy,
        peerTimeout,
        geometry,
        slabs,
        progressInterval);
  }

  /** {@return this spec with another interval of progress} */
  public OutgoingSpec withProgressInterval(Duration progressInterval) {
    return new OutgoingSpec(
        memory,
        guest,
        connector,
        tracker,
        xbzrle,
        compression,
        maxBandwidth,
        downtimeLimit,
        maxRounds,
        timeout,
        limitPolicy,
        peerTimeout,
        geometry,
        slabs,
        progressInterval);
  }
}
