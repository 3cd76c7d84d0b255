package io.pageflux.qemu.multifd;

import io.pageflux.memory.RamBlockLayout;
import java.time.Duration;
import java.util.Objects;
import java.util.UUID;
import org.jspecify.annotations.Nullable;
import reactor.core.scheduler.Scheduler;

/**
 * What is agreed upon with a QEMU that sends with multifd.
 *
 * @param channels QEMU's {@code multifd-channels}, 1 to 255; the main one is not counted
 * @param compression QEMU's {@code multifd-compression}
 * @param pageSizeBytes the target's page size
 * @param syncPoints what the peer's sync points are, or null if its first one is to say it
 * @param uuid the source machine's, or null if any will do
 * @param syncTimeout how long a channel may say nothing while others wait for it at a sync point
 * @param workers where packets are decompressed, or null: then on the threads of the transport and
 *     of the subscriber. Not disposed.
 */
public record MultifdIncomingSpec(
    int channels,
    MultifdCompression compression,
    int pageSizeBytes,
    @Nullable MultifdSyncPoints syncPoints,
    @Nullable UUID uuid,
    Duration syncTimeout,
    @Nullable Scheduler workers) {

  /** How long a channel may be awaited, unless something else is said. */
  public static final Duration DEFAULT_SYNC_TIMEOUT = Duration.ofSeconds(30);

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if there are no channels or too many, no target has the page
   *     size, or the timeout is not positive
   */
  public MultifdIncomingSpec {
    Objects.requireNonNull(compression, "compression");
    MultifdFormat.requireChannels(channels);
    MultifdFormat.requirePageSize(pageSizeBytes);
    if (syncTimeout.isNegative() || syncTimeout.isZero()) {
      throw new IllegalArgumentException("syncTimeout > 0 required but it was " + syncTimeout);
    }
  }

  /** {@return a spec for pages of 4 KiB that leaves everything else to the peer} */
  public static MultifdIncomingSpec of(int channels, MultifdCompression compression) {
    return new MultifdIncomingSpec(
        channels,
        compression,
        RamBlockLayout.DEFAULT_PAGE_SIZE_BYTES,
        null,
        null,
        DEFAULT_SYNC_TIMEOUT,
        null);
  }

  /** {@return this with another timeout} */
  public MultifdIncomingSpec withSyncTimeout(Duration newSyncTimeout) {
    return new MultifdIncomingSpec(
        channels, compression, pageSizeBytes, syncPoints, uuid, newSyncTimeout, workers);
  }

  /** {@return this with workers} */
  public MultifdIncomingSpec withWorkers(@Nullable Scheduler newWorkers) {
    return new MultifdIncomingSpec(
        channels, compression, pageSizeBytes, syncPoints, uuid, syncTimeout, newWorkers);
  }

  /** {@return this for a machine with a UUID} */
  public MultifdIncomingSpec withUuid(@Nullable UUID newUuid) {
    return new MultifdIncomingSpec(
        channels, compression, pageSizeBytes, syncPoints, newUuid, syncTimeout, workers);
  }
}
