package io.pageflux.migration;

import io.pageflux.codec.XbzrleSpec;
import io.pageflux.convergence.ConvergenceLimits;
import io.pageflux.convergence.ConvergenceLimits.AtLimit;
import io.pageflux.convergence.ConvergencePolicy;
import io.pageflux.convergence.Intent;
import io.pageflux.convergence.IntentPolicy;
import io.pageflux.convergence.SwitchOverCost;
import io.pageflux.dirty.DirtyTracker;
import io.pageflux.dirty.DirtyTrackers;
import io.pageflux.dirty.TrackingSpec;
import io.pageflux.memory.GuestMemory;
import io.pageflux.page.BatchGeometry;
import io.pageflux.transport.Connector;
import java.time.Duration;
import java.util.Objects;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import reactor.util.retry.Retry;

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
 * @param limits what the migration may take
 * @param policy makes the policy that decides when it ends, once for each subscription
 * @param switchOverCost what a switch-over costs, as far as it is known; learns from each one
 * @param peerTimeout how long the destination may say nothing at all before it is given up
 * @param geometry the batches' limits
 * @param slabs how many batches there are at the most; with the geometry, the bound of the memory
 *     that pages in flight occupy
 * @param progressInterval how often a {@link MigrationEvent.Progress} is due
 * @param lifecycle what is done besides at the turns of the migration's life
 */
public record OutgoingSpec(
    GuestMemory memory,
    Guest guest,
    Connector connector,
    Function<GuestMemory, DirtyTracker> tracker,
    @Nullable XbzrleSpec xbzrle,
    @Nullable CompressionSpec compression,
    long maxBandwidth,
    ConvergenceLimits limits,
    ConvergencePolicy.Maker policy,
    SwitchOverCost switchOverCost,
    Duration peerTimeout,
    BatchGeometry geometry,
    int slabs,
    Duration progressInterval,
    OutgoingLifecycle lifecycle) {

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
    Objects.requireNonNull(limits, "limits");
    Objects.requireNonNull(policy, "policy");
    Objects.requireNonNull(switchOverCost, "switchOverCost");
    Objects.requireNonNull(lifecycle, "lifecycle");
    if (maxBandwidth < 0) {
      throw new IllegalArgumentException("maxBandwidth >= 0 required but it was " + maxBandwidth);
    }
    if (slabs < MIN_SLABS) {
      throw new IllegalArgumentException("slabs >= " + MIN_SLABS + " required but it was " + slabs);
    }
    requirePositive(peerTimeout, "peerTimeout");
    requirePositive(progressInterval, "progressInterval");
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
   * MiB, zstd at level 1 in two threads, no bandwidth limit, 300 ms of downtime, and the intent of
   * a short downtime, so that a guest that can be throttled is, if it does not converge}
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
        ConvergenceLimits.DEFAULT,
        IntentPolicy.of(new Intent.ShortDowntime()),
        SwitchOverCost.unknown(),
        DEFAULT_PEER_TIMEOUT,
        BatchGeometry.forPageSize(memory.layout().largestPageSizeBytes()),
        DEFAULT_SLABS,
        Duration.ofMillis(500),
        OutgoingLifecycle.NONE);
  }

  private OutgoingSpec with(Consumer<Parts> change) {
    Parts parts = new Parts(this);
    change.accept(parts);
    return parts.spec();
  }

  /** A spec's parts, to be changed one at a time. */
  private static final class Parts {
    final GuestMemory memory;
    Guest guest;
    final Connector connector;
    Function<GuestMemory, DirtyTracker> tracker;
    @Nullable XbzrleSpec xbzrle;
    @Nullable CompressionSpec compression;
    long maxBandwidth;
    ConvergenceLimits limits;
    ConvergencePolicy.Maker policy;
    SwitchOverCost switchOverCost;
    Duration peerTimeout;
    BatchGeometry geometry;
    int slabs;
    Duration progressInterval;
    OutgoingLifecycle lifecycle;

    Parts(OutgoingSpec spec) {
      memory = spec.memory;
      guest = spec.guest;
      connector = spec.connector;
      tracker = spec.tracker;
      xbzrle = spec.xbzrle;
      compression = spec.compression;
      maxBandwidth = spec.maxBandwidth;
      limits = spec.limits;
      policy = spec.policy;
      switchOverCost = spec.switchOverCost;
      peerTimeout = spec.peerTimeout;
      geometry = spec.geometry;
      slabs = spec.slabs;
      progressInterval = spec.progressInterval;
      lifecycle = spec.lifecycle;
    }

    OutgoingSpec spec() {
      return new OutgoingSpec(
          memory,
          guest,
          connector,
          tracker,
          xbzrle,
          compression,
          maxBandwidth,
          limits,
          policy,
          switchOverCost,
          peerTimeout,
          geometry,
          slabs,
          progressInterval,
          lifecycle);
    }
  }

  /** {@return this spec with another guest} */
  public OutgoingSpec withGuest(Guest guest) {
    return with(parts -> parts.guest = guest);
  }

  /** {@return this spec with another maker of trackers} */
  public OutgoingSpec withTracker(Function<GuestMemory, DirtyTracker> tracker) {
    return with(parts -> parts.tracker = tracker);
  }

  /** {@return this spec with another delta cache; null for none} */
  public OutgoingSpec withXbzrle(@Nullable XbzrleSpec xbzrle) {
    return with(parts -> parts.xbzrle = xbzrle);
  }

  /** {@return this spec with another compression; null for none} */
  public OutgoingSpec withCompression(@Nullable CompressionSpec compression) {
    return with(parts -> parts.compression = compression);
  }

  /** {@return this spec with another limit in bytes per second; 0 for none} */
  public OutgoingSpec withMaxBandwidth(long maxBandwidth) {
    return with(parts -> parts.maxBandwidth = maxBandwidth);
  }

  /** {@return this spec with other limits} */
  public OutgoingSpec withLimits(ConvergenceLimits limits) {
    return with(parts -> parts.limits = limits);
  }

  /** {@return this spec with another downtime limit} */
  public OutgoingSpec withDowntimeLimit(Duration downtimeLimit) {
    return withLimits(limits.withDowntimeLimit(downtimeLimit));
  }

  /** {@return this spec with another number of rounds} */
  public OutgoingSpec withMaxRounds(int maxRounds) {
    return withLimits(limits.withMaxRounds(maxRounds));
  }

  /** {@return this spec with another timeout} */
  public OutgoingSpec withTimeout(Duration timeout) {
    return withLimits(limits.withTimeout(timeout));
  }

  /** {@return this spec with another end at the limits} */
  public OutgoingSpec withAtLimit(AtLimit atLimit) {
    return withLimits(limits.withAtLimit(atLimit));
  }

  /** {@return this spec with another policy} */
  public OutgoingSpec withPolicy(ConvergencePolicy.Maker policy) {
    return with(parts -> parts.policy = policy);
  }

  /**
   * {@return this spec with another knowledge of what a switch-over costs}
   *
   * <p>Specs that are made from one another share one, and so do the migrations made of them. A
   * switch-over that fails, so that the migration goes on with another connection or is tried
   * again, teaches the next one.
   */
  public OutgoingSpec withSwitchOverCost(SwitchOverCost switchOverCost) {
    return with(parts -> parts.switchOverCost = switchOverCost);
  }

  /** {@return this spec with another patience with a silent peer} */
  public OutgoingSpec withPeerTimeout(Duration peerTimeout) {
    return with(parts -> parts.peerTimeout = peerTimeout);
  }

  /** {@return this spec with other batches} */
  public OutgoingSpec withGeometry(BatchGeometry geometry) {
    return with(parts -> parts.geometry = geometry);
  }

  /** {@return this spec with another number of batches in flight} */
  public OutgoingSpec withSlabs(int slabs) {
    return with(parts -> parts.slabs = slabs);
  }

  /** {@return this spec with another interval of progress} */
  public OutgoingSpec withProgressInterval(Duration progressInterval) {
    return with(parts -> parts.progressInterval = progressInterval);
  }

  /** {@return this spec with something else done besides} */
  public OutgoingSpec withLifecycle(OutgoingLifecycle lifecycle) {
    return with(parts -> parts.lifecycle = lifecycle);
  }

  /** {@return this spec with other hooks before and after each round} */
  public OutgoingSpec withHooks(MigrationHooks hooks) {
    return withLifecycle(lifecycle.withHooks(hooks));
  }

  /**
   * {@return this spec with a pause before the switch-over, until it is {@linkplain
   * OutgoingMigration#continueMigration() continued}}
   *
   * @param atMost how long it is waited for at the most; null not to pause
   */
  public OutgoingSpec withPauseBeforeSwitchover(@Nullable Duration atMost) {
    return withLifecycle(lifecycle.withPauseBeforeSwitchover(atMost));
  }

  /** {@return this spec with the guest's memory given back at the end, or not} */
  public OutgoingSpec withReleaseRam(boolean releaseRam) {
    return withLifecycle(lifecycle.withReleaseRam(releaseRam));
  }

  /** {@return this spec with another page saver; null for none} */
  public OutgoingSpec withPageSaver(PageSaver.@Nullable Maker pageSaver) {
    return withLifecycle(lifecycle.withPageSaver(pageSaver));
  }

  /**
   * {@return this spec with pages written to the destination's memory where that is offered, and
   * can be; or not}
   */
  public OutgoingSpec withSharedMemory(boolean sharedMemory) {
    return withPageSaver(sharedMemory ? PageSaver.sharedMemory() : null);
  }

  /**
   * {@return this spec with post-copy agreed on with the destination, if that can, or not}
   *
   * <p>Nothing else changes until {@link OutgoingMigration#startPostcopy()} or a policy such as
   * {@link io.pageflux.convergence.PostcopyPolicy} switches to it. From the moment at which the
   * guest runs at the destination until this migration completes, pages of it are only in this
   * memory: keep it and this process until then.
   */
  public OutgoingSpec withPostcopy(@Nullable OutgoingPostcopySpec postcopy) {
    return withLifecycle(lifecycle.withPostcopy(postcopy));
  }

  /**
   * {@return this spec with a lost connection made again, if the destination awaits that, or not}
   *
   * <p>A migration that loses its connection, or hears nothing for the peer's timeout, goes on with
   * another one then: what the destination has is not sent again, and the guest runs meanwhile.
   * That holds until COMMIT was said, and in post-copy until all pages have come: there the guest
   * stays paused here, and the pages that the destination lacks are kept, until a connection brings
   * them. Not with memory that the destination has lent. Each attempt connects anew by the
   * connector; attempts count from the last one that led to a round, or to pages that were missing.
   * If there are none left the migration fails as it would have.
   *
   * @param resume such as {@code Retry.backoff(10, Duration.ofMillis(200))}; null for none
   */
  public OutgoingSpec withResume(@Nullable Retry resume) {
    return withLifecycle(lifecycle.withResume(resume));
  }
}
