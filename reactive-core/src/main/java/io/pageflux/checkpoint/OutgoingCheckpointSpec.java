package io.pageflux.checkpoint;

import io.pageflux.codec.XbzrleSpec;
import io.pageflux.dirty.DirtyTracker;
import io.pageflux.dirty.DirtyTrackers;
import io.pageflux.dirty.TrackingSpec;
import io.pageflux.memory.GuestMemory;
import io.pageflux.migration.CompressionSpec;
import io.pageflux.migration.Guest;
import io.pageflux.page.BatchGeometry;
import io.pageflux.transport.Connector;
import java.time.Duration;
import java.util.Objects;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Everything that {@link OutgoingCheckpoints} are built from. Immutable: each {@code with} method
 * returns a new one.
 *
 * @param memory the guest's memory; stays the caller's
 * @param guest the guest, which runs
 * @param connector leads to the destination
 * @param tracker makes the tracker of writes, once for each subscription
 * @param xbzrle the delta cache; null to send no deltas
 * @param compression compression; null to send contents as they are
 * @param maxBandwidth bytes per second on the wire at the most; 0 for no limit
 * @param interval from the beginning of one checkpoint to that of the next, if that one has been
 *     acknowledged by then; null for checkpoints on demand only
 * @param trigger asks for checkpoints beside those
 * @param stagingBytes memory into which dirty pages are copied while the guest is paused, filled
 *     when the session begins. A checkpoint that has more keeps the guest waiting until the rest
 *     has found room, which is as fast as the destination takes it
 * @param maxCopyRounds rounds of the first copy at the most; it ends earlier when what the guest
 *     has written fits the staging area
 * @param peerTimeout how long the destination may say nothing at all before it is given up, and the
 *     guest may take to pause or go on
 * @param geometry the batches' limits
 */
public record OutgoingCheckpointSpec(
    GuestMemory memory,
    Guest guest,
    Connector connector,
    Function<GuestMemory, DirtyTracker> tracker,
    @Nullable XbzrleSpec xbzrle,
    @Nullable CompressionSpec compression,
    long maxBandwidth,
    @Nullable Duration interval,
    CheckpointTrigger trigger,
    long stagingBytes,
    int maxCopyRounds,
    Duration peerTimeout,
    BatchGeometry geometry) {

  /** 64 MiB. */
  public static final long DEFAULT_STAGING_BYTES = 64L << 20;

  /** A checkpoint each second. */
  public static final Duration DEFAULT_INTERVAL = Duration.ofSeconds(1);

  /** Rounds of the first copy. */
  public static final int DEFAULT_MAX_COPY_ROUNDS = 5;

  /** The fewest batches that a pipeline with compression workers makes progress with. */
  private static final int MIN_SLABS = 2;

  private static final int MAX_SLABS = 1 << 24;

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if one is out of range
   */
  public OutgoingCheckpointSpec {
    Objects.requireNonNull(memory, "memory");
    Objects.requireNonNull(guest, "guest");
    Objects.requireNonNull(connector, "connector");
    Objects.requireNonNull(tracker, "tracker");
    Objects.requireNonNull(trigger, "trigger");
    if (maxBandwidth < 0) {
      throw new IllegalArgumentException("maxBandwidth >= 0 required but it was " + maxBandwidth);
    }
    if (interval != null) {
      requirePositive(interval, "interval");
    }
    requirePositive(peerTimeout, "peerTimeout");
    if (maxCopyRounds < 1) {
      throw new IllegalArgumentException("maxCopyRounds >= 1 required but it was " + maxCopyRounds);
    }
    long slabs = stagingBytes / geometry.slabBytes();
    if (slabs < MIN_SLABS || slabs > MAX_SLABS) {
      throw new IllegalArgumentException(
          "stagingBytes must hold %d to %d batches of %d bytes, but they were %d"
              .formatted(MIN_SLABS, MAX_SLABS, geometry.slabBytes(), stagingBytes));
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
   * {@return a spec with the defaults: a checkpoint each second, writes tracked by the best means
   * there is, XBZRLE with 64 MiB, zstd at level 1 in two threads, no bandwidth limit, 64 MiB of
   * staging}
   */
  public static OutgoingCheckpointSpec of(GuestMemory memory, Guest guest, Connector connector) {
    return new OutgoingCheckpointSpec(
        memory,
        guest,
        connector,
        m -> DirtyTrackers.choose(m, TrackingSpec.DEFAULT).tracker(),
        XbzrleSpec.DEFAULT,
        CompressionSpec.DEFAULT,
        0,
        DEFAULT_INTERVAL,
        new CheckpointTrigger(),
        DEFAULT_STAGING_BYTES,
        DEFAULT_MAX_COPY_ROUNDS,
        Duration.ofSeconds(15),
        BatchGeometry.forPageSize(memory.layout().largestPageSizeBytes()));
  }

  /** How many batches the staging area holds. */
  int slabs() {
    return (int) (stagingBytes / geometry.slabBytes());
  }

  /** A spec's parts, to be changed one at a time. */
  private static final class Parts {
    Function<GuestMemory, DirtyTracker> tracker;
    @Nullable XbzrleSpec xbzrle;
    @Nullable CompressionSpec compression;
    long maxBandwidth;
    @Nullable Duration interval;
    CheckpointTrigger trigger;
    long stagingBytes;
    int maxCopyRounds;
    Duration peerTimeout;
    BatchGeometry geometry;

    Parts(OutgoingCheckpointSpec spec) {
      tracker = spec.tracker;
      xbzrle = spec.xbzrle;
      compression = spec.compression;
      maxBandwidth = spec.maxBandwidth;
      interval = spec.interval;
      trigger = spec.trigger;
      stagingBytes = spec.stagingBytes;
      maxCopyRounds = spec.maxCopyRounds;
      peerTimeout = spec.peerTimeout;
      geometry = spec.geometry;
    }
  }

  private OutgoingCheckpointSpec with(Consumer<Parts> change) {
    Parts parts = new Parts(this);
    change.accept(parts);
    return new OutgoingCheckpointSpec(
        memory,
        guest,
        connector,
        parts.tracker,
        parts.xbzrle,
        parts.compression,
        parts.maxBandwidth,
        parts.interval,
        parts.trigger,
        parts.stagingBytes,
        parts.maxCopyRounds,
        parts.peerTimeout,
        parts.geometry);
  }

  /** {@return this spec with another maker of trackers} */
  public OutgoingCheckpointSpec withTracker(Function<GuestMemory, DirtyTracker> tracker) {
    return with(parts -> parts.tracker = tracker);
  }

  /** {@return this spec with another delta cache; null for none} */
  public OutgoingCheckpointSpec withXbzrle(@Nullable XbzrleSpec xbzrle) {
    return with(parts -> parts.xbzrle = xbzrle);
  }

  /** {@return this spec with another compression; null for none} */
  public OutgoingCheckpointSpec withCompression(@Nullable CompressionSpec compression) {
    return with(parts -> parts.compression = compression);
  }

  /** {@return this spec with another limit in bytes per second; 0 for none} */
  public OutgoingCheckpointSpec withMaxBandwidth(long maxBandwidth) {
    return with(parts -> parts.maxBandwidth = maxBandwidth);
  }

  /** {@return this spec with another interval; null for checkpoints on demand only} */
  public OutgoingCheckpointSpec withInterval(@Nullable Duration interval) {
    return with(parts -> parts.interval = interval);
  }

  /** {@return this spec with another trigger} */
  public OutgoingCheckpointSpec withTrigger(CheckpointTrigger trigger) {
    return with(parts -> parts.trigger = trigger);
  }

  /** {@return this spec with another staging area, in bytes} */
  public OutgoingCheckpointSpec withStagingBytes(long stagingBytes) {
    return with(parts -> parts.stagingBytes = stagingBytes);
  }

  /** {@return this spec with another number of rounds of the first copy} */
  public OutgoingCheckpointSpec withMaxCopyRounds(int maxCopyRounds) {
    return with(parts -> parts.maxCopyRounds = maxCopyRounds);
  }

  /** {@return this spec with another patience with a silent peer} */
  public OutgoingCheckpointSpec withPeerTimeout(Duration peerTimeout) {
    return with(parts -> parts.peerTimeout = peerTimeout);
  }

  /** {@return this spec with other batches} */
  public OutgoingCheckpointSpec withGeometry(BatchGeometry geometry) {
    return with(parts -> parts.geometry = geometry);
  }

  /** {@return this spec with other batches and another staging area, which fit only one another} */
  public OutgoingCheckpointSpec withStaging(BatchGeometry geometry, long stagingBytes) {
    return with(
        parts -> {
          parts.geometry = geometry;
          parts.stagingBytes = stagingBytes;
        });
  }
}
