package io.pageflux.migration;

import io.pageflux.memory.GuestMemory;
import io.pageflux.page.BatchGeometry;
import io.pageflux.postcopy.PostcopyMemory;
import io.pageflux.transport.Acceptor;
import java.time.Duration;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Everything that an {@link IncomingMigration} is built from. Immutable: each {@code with} method
 * returns a new one.
 *
 * @param memory where the guest's memory goes; stays the caller's
 * @param guest the guest, not running
 * @param acceptor where the source connects
 * @param workers threads that decompress, 1 to 64
 * @param maxGeometry the largest batches that are accepted; the source's batches are refused if
 *     larger
 * @param maxDeviceStateBytes the longest device state that is accepted; it is held on the heap
 *     until the guest has taken it
 * @param peerTimeout how long the source may say nothing at all before it is given up
 * @param progressInterval how often a {@link MigrationEvent.Progress} is due
 * @param hooks what is done before and after each round
 * @param sharedMemory whether the source may write to the {@linkplain
 *     io.pageflux.memory.GuestMemory.Builder#shared shared} blocks itself, if it is on this machine
 * @param postcopy what the guest accesses its memory by, if it may be started before all pages are
 *     there; null if it may not
 * @param resume how long a source whose connection was lost is awaited; null to fail with it
 * @param reuse whether the memory holds an older copy of the guest's, which is to be used
 */
public record IncomingSpec(
    GuestMemory memory,
    Guest guest,
    Acceptor acceptor,
    int workers,
    BatchGeometry maxGeometry,
    int maxDeviceStateBytes,
    Duration peerTimeout,
    Duration progressInterval,
    MigrationHooks hooks,
    boolean sharedMemory,
    @Nullable PostcopyMemory postcopy,
    @Nullable Duration resume,
    boolean reuse) {

  /** Batches of up to 1,024 pages and 2 MiB. */
  public static final BatchGeometry DEFAULT_MAX_GEOMETRY = new BatchGeometry(1024, 2 << 20);

  /** 16 MiB. */
  public static final int DEFAULT_MAX_DEVICE_STATE_BYTES = 16 << 20;

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if one is out of range
   */
  public IncomingSpec {
    Objects.requireNonNull(memory, "memory");
    Objects.requireNonNull(guest, "guest");
    Objects.requireNonNull(acceptor, "acceptor");
    Objects.requireNonNull(maxGeometry, "maxGeometry");
    Objects.requireNonNull(hooks, "hooks");
    if (workers < 1 || workers > 64) {
      throw new IllegalArgumentException("1 to 64 workers required but it was " + workers);
    }
    if (maxDeviceStateBytes < 0) {
      throw new IllegalArgumentException(
          "maxDeviceStateBytes >= 0 required but it was " + maxDeviceStateBytes);
    }
    OutgoingSpec.requirePositive(peerTimeout, "peerTimeout");
    OutgoingSpec.requirePositive(progressInterval, "progressInterval");
    if (resume != null) {
      OutgoingSpec.requirePositive(resume, "resume");
    }
    if (postcopy != null && postcopy.memory() != memory) {
      throw new IllegalArgumentException(
          "the post-copy's memory is another one than the migration's");
    }
  }

  /** {@return a spec with the defaults} */
  public static IncomingSpec of(GuestMemory memory, Guest guest, Acceptor acceptor) {
    return new IncomingSpec(
        memory,
        guest,
        acceptor,
        2,
        DEFAULT_MAX_GEOMETRY,
        DEFAULT_MAX_DEVICE_STATE_BYTES,
        OutgoingSpec.DEFAULT_PEER_TIMEOUT,
        Duration.ofMillis(500),
        MigrationHooks.NONE,
        false,
        null,
        null,
        false);
  }

  /** {@return this spec with another number of decompressing threads} */
  public IncomingSpec withWorkers(int workers) {
    return new IncomingSpec(
        memory,
        guest,
        acceptor,
        workers,
        maxGeometry,
        maxDeviceStateBytes,
        peerTimeout,
        progressInterval,
        hooks,
        sharedMemory,
        postcopy,
        resume,
        reuse);
  }

  /** {@return this spec with other limits of a batch} */
  public IncomingSpec withMaxGeometry(BatchGeometry maxGeometry) {
    return new IncomingSpec(
        memory,
        guest,
        acceptor,
        workers,
        maxGeometry,
        maxDeviceStateBytes,
        peerTimeout,
        progressInterval,
        hooks,
        sharedMemory,
        postcopy,
        resume,
        reuse);
  }

  /** {@return this spec with another limit of the device state, in bytes} */
  public IncomingSpec withMaxDeviceStateBytes(int maxDeviceStateBytes) {
    return new IncomingSpec(
        memory,
        guest,
        acceptor,
        workers,
        maxGeometry,
        maxDeviceStateBytes,
        peerTimeout,
        progressInterval,
        hooks,
        sharedMemory,
        postcopy,
        resume,
        reuse);
  }

  /** {@return this spec with another patience with a silent peer} */
  public IncomingSpec withPeerTimeout(Duration peerTimeout) {
    return new IncomingSpec(
        memory,
        guest,
        acceptor,
        workers,
        maxGeometry,
        maxDeviceStateBytes,
        peerTimeout,
        progressInterval,
        hooks,
        sharedMemory,
        postcopy,
        resume,
        reuse);
  }

  /** {@return this spec with another interval of progress} */
  public IncomingSpec withProgressInterval(Duration progressInterval) {
    return new IncomingSpec(
        memory,
        guest,
        acceptor,
        workers,
        maxGeometry,
        maxDeviceStateBytes,
        peerTimeout,
        progressInterval,
        hooks,
        sharedMemory,
        postcopy,
        resume,
        reuse);
  }

  /** {@return this spec with other hooks before and after each round} */
  public IncomingSpec withHooks(MigrationHooks hooks) {
    return new IncomingSpec(
        memory,
        guest,
        acceptor,
        workers,
        maxGeometry,
        maxDeviceStateBytes,
        peerTimeout,
        progressInterval,
        hooks,
        sharedMemory,
        postcopy,
        resume,
        reuse);
  }

  /**
   * {@return this spec with the memory's shared blocks offered to the source, or not}
   *
   * <p>A source that has been told of a block can write to it until its process ends: so it must be
   * one that is trusted like this process, and it can only be of the same user. After a migration
   * that failed, such a memory cannot be migrated to again.
   */
  public IncomingSpec withSharedMemory(boolean sharedMemory) {
    return new IncomingSpec(
        memory,
        guest,
        acceptor,
        workers,
        maxGeometry,
        maxDeviceStateBytes,
        peerTimeout,
        progressInterval,
        hooks,
        sharedMemory,
        postcopy,
        resume,
        reuse);
  }

  /**
   * {@return this spec with post-copy agreed on with the source, if that can, or not}
   *
   * @param postcopy what the guest accesses the migration's memory by, since pages may be absent
   *     when it is started; null for no post-copy
   */
  public IncomingSpec withPostcopy(@Nullable PostcopyMemory postcopy) {
    return new IncomingSpec(
        memory,
        guest,
        acceptor,
        workers,
        maxGeometry,
        maxDeviceStateBytes,
        peerTimeout,
        progressInterval,
        hooks,
        sharedMemory,
        postcopy,
        resume,
        reuse);
  }

  /**
   * {@return this spec with a source awaited whose connection was lost, or not}
   *
   * <p>What has arrived is kept meanwhile. Awaited is the source of the same migration, from the
   * moment at which the connection was lost; whoever else connects is turned away, one after the
   * other, each after 5 seconds at the most, whatever is said. The guest is not started by what was
   * said on the old connection any more. In post-copy, once it was started, it runs on, and who
   * needs a page that is missing waits, for as long as one access may take, even if he would be
   * {@linkplain io.pageflux.postcopy.SourceLost told} of a source that is lost. Not with memory
   * that was lent.
   *
   * @param atMost how long; null to fail as soon as the connection is lost
   */
  public IncomingSpec withResume(@Nullable Duration atMost) {
    return new IncomingSpec(
        memory,
        guest,
        acceptor,
        workers,
        maxGeometry,
        maxDeviceStateBytes,
        peerTimeout,
        progressInterval,
        hooks,
        sharedMemory,
        postcopy,
        atMost,
        reuse);
  }

  /**
   * {@return this spec with what is in the memory used, or not}
   *
   * <p>For memory that holds an older copy of the guest's, of a former run, from a file, or from
   * before it went elsewhere and comes back now: the hashes of its pages are sent to the source, 16
   * bytes for each, and only what differs comes. It pays where the link is slower than some GB/s
   * and much is as it was. Not with post-copy, nor with memory that is lent.
   */
  public IncomingSpec withReuse(boolean older) {
    return new IncomingSpec(
        memory,
        guest,
        acceptor,
        workers,
        maxGeometry,
        maxDeviceStateBytes,
        peerTimeout,
        progressInterval,
        hooks,
        sharedMemory,
        postcopy,
        resume,
        older);
  }
}
