package io.pageflux.qemu.capture;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Objects;

/**
 * What to capture into, and how. Immutable: each {@code with} method returns a changed copy.
 *
 * <p><b>Memory bound</b> of a capture, whatever the guest's size: one slab of 2 MiB and 8 KiB, one
 * buffer of the connection, up to 16 MiB of heap for the end of the stream, one bit of heap for
 * each page of the guest, and address space for its RAM.
 *
 * @param directory where the files go; it is made if it is missing, and must be empty
 * @param maxRamBytes the most RAM that a guest may say it has, more than 0
 * @param pageSizeBytes the size of QEMU's target page, 4,096 but for few machines
 * @param settleTime for how long nothing may follow what looks like the end of a stream, while QEMU
 *     keeps the connection open
 * @param silenceTimeout for how long QEMU may say nothing after it has connected, and in the middle
 *     of its devices' state; elsewhere it may be silent for ever
 * @param progressInterval how often progress is told
 * @param described whether a stream has to end with the description of its devices. Without it a
 *     stream that was cut in the middle of the devices' state can be taken for a whole one
 */
public record CaptureSpec(
    Path directory,
    long maxRamBytes,
    int pageSizeBytes,
    Duration settleTime,
    Duration silenceTimeout,
    Duration progressInterval,
    boolean described) {

  /** 1 TiB. */
  public static final long DEFAULT_MAX_RAM_BYTES = 1L << 40;

  private static final int MIN_PAGE_BYTES = 1 << 10;
  private static final int MAX_PAGE_BYTES = 2 << 20;

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if one is out of its range
   */
  public CaptureSpec {
    Objects.requireNonNull(directory, "directory");
    if (maxRamBytes < 1) {
      throw new IllegalArgumentException("maxRamBytes > 0 required but it was " + maxRamBytes);
    }
    if (Integer.bitCount(pageSizeBytes) != 1
        || pageSizeBytes < MIN_PAGE_BYTES
        || pageSizeBytes > MAX_PAGE_BYTES) {
      throw new IllegalArgumentException(
          "a page is a power of two from %d to %d bytes, but %d were asked for"
              .formatted(MIN_PAGE_BYTES, MAX_PAGE_BYTES, pageSizeBytes));
    }
    requireAtLeast("settleTime", settleTime, Duration.ZERO);
    requireAtLeast("silenceTimeout", silenceTimeout, Duration.ofMillis(100));
    requireAtLeast("progressInterval", progressInterval, Duration.ofMillis(1));
  }

  private static void requireAtLeast(String what, Duration value, Duration least) {
    if (value.compareTo(least) < 0) {
      throw new IllegalArgumentException(what + " >= " + least + " required but it was " + value);
    }
  }

  /** {@return how to capture an x86 guest into a directory} */
  public static CaptureSpec of(Path directory) {
    return new CaptureSpec(
        directory,
        DEFAULT_MAX_RAM_BYTES,
        4096,
        Duration.ofMillis(200),
        Duration.ofMinutes(1),
        Duration.ofSeconds(1),
        true);
  }

  /** {@return a spec with another limit to the guest's RAM} */
  public CaptureSpec withMaxRamBytes(long bytes) {
    return new CaptureSpec(
        directory, bytes, pageSizeBytes, settleTime, silenceTimeout, progressInterval, described);
  }

  /** {@return a spec for machines with another target page} */
  public CaptureSpec withPageSizeBytes(int bytes) {
    return new CaptureSpec(
        directory, maxRamBytes, bytes, settleTime, silenceTimeout, progressInterval, described);
  }

  /** {@return a spec with another silence that confirms the end} */
  public CaptureSpec withSettleTime(Duration time) {
    return new CaptureSpec(
        directory, maxRamBytes, pageSizeBytes, time, silenceTimeout, progressInterval, described);
  }

  /** {@return a spec with another limit to QEMU's silence} */
  public CaptureSpec withSilenceTimeout(Duration timeout) {
    return new CaptureSpec(
        directory, maxRamBytes, pageSizeBytes, settleTime, timeout, progressInterval, described);
  }

  /** {@return a spec with another time between two reports of progress} */
  public CaptureSpec withProgressInterval(Duration interval) {
    return new CaptureSpec(
        directory, maxRamBytes, pageSizeBytes, settleTime, silenceTimeout, interval, described);
  }

  /**
   * {@return a spec that demands the description of the devices, or does not: for a machine with
   * {@code suppress-vmdesc=on}}
   */
  public CaptureSpec withDescription(boolean demanded) {
    return new CaptureSpec(
        directory,
        maxRamBytes,
        pageSizeBytes,
        settleTime,
        silenceTimeout,
        progressInterval,
        demanded);
  }
}
