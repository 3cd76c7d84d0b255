package io.pageflux.qemu.migrate;

import io.pageflux.migration.OutgoingSpec;
import io.pageflux.qemu.qmp.QmpSpec;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Objects;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Everything that a {@link QemuMigration} is built from. Immutable: each {@code with} method
 * returns a new one.
 *
 * @param source the QEMU that runs the guest
 * @param destination the QEMU that is to run it, started with {@code -incoming defer}
 * @param sourceMemory the file of the source's memory; null to ask QEMU for its path
 * @param destinationMemory the file of the destination's memory; null to ask QEMU for its path
 * @param socketDirectory where sockets for the device state are made, which both QEMUs must reach;
 *     null for a new directory in the system's temporary one
 * @param maxDeviceStateBytes the longest device state that is carried; held on the heap twice
 * @param deviceTimeout how long QEMU may take to give, or to take, its device state, and to let the
 *     guest go on after a failure
 * @param tuning changes what the migration of the memory is built from: limits, compression,
 *     tracking. It is given a spec without compression and deltas, for the memory is copied within
 *     this process, with its memory, guest and connector, which are not to be changed
 */
public record QemuMigrationSpec(
    QmpSpec source,
    QmpSpec destination,
    @Nullable Path sourceMemory,
    @Nullable Path destinationMemory,
    @Nullable Path socketDirectory,
    int maxDeviceStateBytes,
    Duration deviceTimeout,
    UnaryOperator<OutgoingSpec> tuning) {

  /** 64 MiB: room for the memory of a graphics card. */
  public static final int DEFAULT_MAX_DEVICE_STATE_BYTES = 64 << 20;

  /** Time for QEMU to give, or to take, its device state. */
  public static final Duration DEFAULT_DEVICE_TIMEOUT = Duration.ofSeconds(30);

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if one is out of range, or both QEMUs are the same
   */
  public QemuMigrationSpec {
    Objects.requireNonNull(tuning, "tuning");
    if (source.address().equals(destination.address())) {
      throw new IllegalArgumentException(
          "source and destination are the same QEMU, " + source.address());
    }
    if (maxDeviceStateBytes < 1) {
      throw new IllegalArgumentException(
          "maxDeviceStateBytes > 0 required but it was " + maxDeviceStateBytes);
    }
    if (deviceTimeout.isNegative() || deviceTimeout.isZero()) {
      throw new IllegalArgumentException("deviceTimeout > 0 required but it was " + deviceTimeout);
    }
  }

  /** {@return a spec with the defaults} */
  public static QemuMigrationSpec of(QmpSpec source, QmpSpec destination) {
    return new QemuMigrationSpec(
        source,
        destination,
        null,
        null,
        null,
        DEFAULT_MAX_DEVICE_STATE_BYTES,
        DEFAULT_DEVICE_TIMEOUT,
        UnaryOperator.identity());
  }

  /** {@return this spec with the files of the memories; null to ask QEMU for a path} */
  public QemuMigrationSpec withMemory(
      @Nullable Path sourceMemory, @Nullable Path destinationMemory) {
    return new QemuMigrationSpec(
        source,
        destination,
        sourceMemory,
        destinationMemory,
        socketDirectory,
        maxDeviceStateBytes,
        deviceTimeout,
        tuning);
  }

  /** {@return this spec with another place for sockets} */
  public QemuMigrationSpec withSocketDirectory(@Nullable Path socketDirectory) {
    return new QemuMigrationSpec(
        source,
        destination,
        sourceMemory,
        destinationMemory,
        socketDirectory,
        maxDeviceStateBytes,
        deviceTimeout,
        tuning);
  }

  /** {@return this spec with other limits of the device state} */
  public QemuMigrationSpec withDeviceLimits(int maxDeviceStateBytes, Duration deviceTimeout) {
    return new QemuMigrationSpec(
        source,
        destination,
        sourceMemory,
        destinationMemory,
        socketDirectory,
        maxDeviceStateBytes,
        deviceTimeout,
        tuning);
  }

  /** {@return this spec with another tuning} */
  public QemuMigrationSpec withTuning(UnaryOperator<OutgoingSpec> tuning) {
    return new QemuMigrationSpec(
        source,
        destination,
        sourceMemory,
        destinationMemory,
        socketDirectory,
        maxDeviceStateBytes,
        deviceTimeout,
        tuning);
  }
}
