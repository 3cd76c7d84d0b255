package io.pageflux.qemu.multifd;

import java.util.Objects;
import java.util.UUID;
import org.jspecify.annotations.Nullable;
import reactor.core.scheduler.Scheduler;

/**
 * What is agreed upon with a QEMU that receives with multifd.
 *
 * @param compression QEMU's {@code multifd-compression}
 * @param level of the compression; without one it means nothing
 * @param syncPoints what the destination's sync points are
 * @param zeroPagesInPackets whether zero pages go into packets, which QEMU reads since 9.0; before,
 *     it ignores them without a word, and they go over the main channel
 * @param uuid the machine's; a destination that was given another refuses it
 * @param workers where packets are compressed, or null: then on the threads of the transport. Not
 *     disposed.
 */
public record MultifdOutgoingSpec(
    MultifdCompression compression,
    int level,
    MultifdSyncPoints syncPoints,
    boolean zeroPagesInPackets,
    UUID uuid,
    @Nullable Scheduler workers) {

  /** QEMU's own level for zlib and zstd. */
  public static final int DEFAULT_LEVEL = 1;

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if the compression has no such level
   */
  public MultifdOutgoingSpec {
    Objects.requireNonNull(syncPoints, "syncPoints");
    Objects.requireNonNull(uuid, "uuid");
    MultifdPacketWriter.requireLevel(compression, level);
  }

  /** {@return a spec that QEMU up to 8.0 understands, and newer ones with a machine up to 8.0} */
  public static MultifdOutgoingSpec forMachinesUpTo80(MultifdCompression compression) {
    return new MultifdOutgoingSpec(
        compression,
        DEFAULT_LEVEL,
        MultifdSyncPoints.EVERY_SECTION,
        false,
        MultifdInit.NO_UUID,
        null);
  }

  /** {@return a spec that QEMU since 9.0 understands, with a machine since 8.1} */
  public static MultifdOutgoingSpec forQemuSince90(MultifdCompression compression) {
    return new MultifdOutgoingSpec(
        compression,
        DEFAULT_LEVEL,
        MultifdSyncPoints.FLUSH_RECORD,
        true,
        MultifdInit.NO_UUID,
        null);
  }

  /** {@return this with another level} */
  public MultifdOutgoingSpec withLevel(int newLevel) {
    return new MultifdOutgoingSpec(
        compression, newLevel, syncPoints, zeroPagesInPackets, uuid, workers);
  }

  /** {@return this with workers} */
  public MultifdOutgoingSpec withWorkers(@Nullable Scheduler newWorkers) {
    return new MultifdOutgoingSpec(
        compression, level, syncPoints, zeroPagesInPackets, uuid, newWorkers);
  }

  /** {@return this for a machine with a UUID} */
  public MultifdOutgoingSpec withUuid(UUID newUuid) {
    return new MultifdOutgoingSpec(
        compression, level, syncPoints, zeroPagesInPackets, newUuid, workers);
  }
}
