package io.pageflux.checkpoint;

import io.pageflux.memory.GuestMemory;
import io.pageflux.migration.Guest;
import io.pageflux.migration.IncomingSpec;
import io.pageflux.page.BatchGeometry;
import io.pageflux.transport.Acceptor;
import java.time.Duration;
import java.util.Objects;

/**
 * Everything that {@link IncomingCheckpoints} are built from. Immutable: each {@code with} method
 * returns a new one.
 *
 * @param memory where the guest's memory goes; stays the caller's
 * @param guest the guest, not running; asked for nothing unless the fail-over is {@code START}
 * @param acceptor where the source connects
 * @param failOver what to do when the source is lost
 * @param stagingBytes the most that a checkpoint may have, with 24 bytes for each run of pages; a
 *     larger one ends the session. Costs memory as it is used
 * @param workers threads that decompress, 1 to 64
 * @param maxGeometry the largest batches that are accepted
 * @param maxDeviceStateBytes the longest device state that is accepted; two of them are held on the
 *     heap
 * @param peerTimeout how long the source may say nothing at all before it is given up for lost
 */
public record IncomingCheckpointSpec(
    GuestMemory memory,
    Guest guest,
    Acceptor acceptor,
    FailOver failOver,
    long stagingBytes,
    int workers,
    BatchGeometry maxGeometry,
    int maxDeviceStateBytes,
    Duration peerTimeout) {

  /** 512 MiB. */
  public static final long DEFAULT_STAGING_BYTES = 512L << 20;

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if one is out of range
   */
  public IncomingCheckpointSpec {
    Objects.requireNonNull(memory, "memory");
    Objects.requireNonNull(guest, "guest");
    Objects.requireNonNull(acceptor, "acceptor");
    Objects.requireNonNull(failOver, "failOver");
    Objects.requireNonNull(maxGeometry, "maxGeometry");
    if (stagingBytes < 4096) {
      throw new IllegalArgumentException(
          "stagingBytes >= 4096 required but it was " + stagingBytes);
    }
    if (workers < 1 || workers > 64) {
      throw new IllegalArgumentException("1 to 64 workers required but it was " + workers);
    }
    if (maxDeviceStateBytes < 0) {
      throw new IllegalArgumentException(
          "maxDeviceStateBytes >= 0 required but it was " + maxDeviceStateBytes);
    }
    OutgoingCheckpointSpec.requirePositive(peerTimeout, "peerTimeout");
  }

  /** {@return a spec with the defaults: nothing is started, 512 MiB of staging} */
  public static IncomingCheckpointSpec of(GuestMemory memory, Guest guest, Acceptor acceptor) {
    return new IncomingCheckpointSpec(
        memory,
        guest,
        acceptor,
        FailOver.REPORT,
        DEFAULT_STAGING_BYTES,
        2,
        IncomingSpec.DEFAULT_MAX_GEOMETRY,
        IncomingSpec.DEFAULT_MAX_DEVICE_STATE_BYTES,
        Duration.ofSeconds(15));
  }

  /** {@return this spec with something else done when the source is lost} */
  public IncomingCheckpointSpec withFailOver(FailOver failOver) {
    return new IncomingCheckpointSpec(
        memory,
        guest,
        acceptor,
        failOver,
        stagingBytes,
        workers,
        maxGeometry,
        maxDeviceStateBytes,
        peerTimeout);
  }

  /** {@return this spec with another staging area, in bytes} */
  public IncomingCheckpointSpec withStagingBytes(long stagingBytes) {
    return new IncomingCheckpointSpec(
        memory,
        guest,
        acceptor,
        failOver,
        stagingBytes,
        workers,
        maxGeometry,
        maxDeviceStateBytes,
        peerTimeout);
  }

  /** {@return this spec with another number of decompressing threads} */
  public IncomingCheckpointSpec withWorkers(int workers) {
    return new IncomingCheckpointSpec(
        memory,
        guest,
        acceptor,
        failOver,
        stagingBytes,
        workers,
        maxGeometry,
        maxDeviceStateBytes,
        peerTimeout);
  }

  /** {@return this spec with another limit of the device state, in bytes} */
  public IncomingCheckpointSpec withMaxDeviceStateBytes(int maxDeviceStateBytes) {
    return new IncomingCheckpointSpec(
        memory,
        guest,
        acceptor,
        failOver,
        stagingBytes,
        workers,
        maxGeometry,
        maxDeviceStateBytes,
        peerTimeout);
  }

  /** {@return this spec with another patience with a silent source} */
  public IncomingCheckpointSpec withPeerTimeout(Duration peerTimeout) {
    return new IncomingCheckpointSpec(
        memory,
        guest,
        acceptor,
        failOver,
        stagingBytes,
        workers,
        maxGeometry,
        maxDeviceStateBytes,
        peerTimeout);
  }
}
