package io.pageflux.qemu.postcopy;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.Objects;
import reactor.util.retry.Retry;

/**
 * Which captured guest to resume lazily, and how. Immutable: each {@code with} method returns a
 * changed copy.
 *
 * <p><b>Memory bound</b>, whatever the guest's size: 300 KiB of slabs (for pages of 4 KiB), up to
 * two bits of heap for each page, 3 MiB for requests that wait, and what it takes to open a
 * capture.
 *
 * @param directory where the capture is; its files are only read
 * @param hostPageBytes the host page sizes of those RAM blocks at the destination that do not have
 *     the guest's own, by name: blocks in huge pages. A wrong one is refused by QEMU
 * @param backgroundBytesPerSecond how fast pages are sent that nobody waits for; 0 for as fast as
 *     they are taken
 * @param recovering whether the guest is at the destination already, in the state {@code
 *     postcopy-paused}, and only what is missing is to be sent
 * @param recovery how to try again when the connection is lost while the guest is at the
 *     destination. Each attempt connects, which fails until somebody has said {@code
 *     migrate-recover} there
 * @param answerTimeout how long the destination may take to answer, before the guest runs and when
 *     it is recovered
 * @param closeTimeout how long the destination may take to say that it has everything, after the
 *     last page
 * @param progressInterval how often progress is told
 */
public record PostcopySpec(
    Path directory,
    Map<String, Integer> hostPageBytes,
    long backgroundBytesPerSecond,
    boolean recovering,
    Retry recovery,
    Duration answerTimeout,
    Duration closeTimeout,
    Duration progressInterval) {

  /** Every 100 ms at first, then every 2 s, for about 10 minutes. */
  public static final Retry DEFAULT_RECOVERY =
      Retry.backoff(300, Duration.ofMillis(100)).maxBackoff(Duration.ofSeconds(2));

  /** The largest host page that x86 has. */
  private static final int MAX_HOST_PAGE_BYTES = 1 << 30;

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if one is out of its range
   */
  public PostcopySpec {
    Objects.requireNonNull(directory, "directory");
    Objects.requireNonNull(recovery, "recovery");
    hostPageBytes = Map.copyOf(hostPageBytes);
    hostPageBytes.forEach(
        (block, bytes) -> {
          if (Integer.bitCount(bytes) != 1 || bytes < 1 << 10 || bytes > MAX_HOST_PAGE_BYTES) {
            throw new IllegalArgumentException(
                "a host page of RAM block '%s' is a power of two from 2^10 to 2^30 bytes, not %d"
                    .formatted(block, bytes));
          }
        });
    if (backgroundBytesPerSecond < 0) {
      throw new IllegalArgumentException(
          "backgroundBytesPerSecond >= 0 required but it was " + backgroundBytesPerSecond);
    }
    requirePositive("answerTimeout", answerTimeout);
    requirePositive("closeTimeout", closeTimeout);
    requirePositive("progressInterval", progressInterval);
  }

  private static void requirePositive(String what, Duration value) {
    if (value.compareTo(Duration.ofMillis(1)) < 0) {
      throw new IllegalArgumentException(what + " >= 1 ms required but it was " + value);
    }
  }

  /** {@return how to resume the guest in a directory} */
  public static PostcopySpec of(Path directory) {
    return new PostcopySpec(
        directory,
        Map.of(),
        0,
        false,
        DEFAULT_RECOVERY,
        Duration.ofSeconds(60),
        Duration.ofSeconds(60),
        Duration.ofSeconds(1));
  }

  /** {@return a spec for a destination with RAM blocks in huge pages} */
  public PostcopySpec withHostPageBytes(Map<String, Integer> byBlock) {
    return new PostcopySpec(
        directory,
        byBlock,
        backgroundBytesPerSecond,
        recovering,
        recovery,
        answerTimeout,
        closeTimeout,
        progressInterval);
  }

  /** {@return a spec with another limit to what is sent in the background} */
  public PostcopySpec withBackgroundBytesPerSecond(long bytes) {
    return new PostcopySpec(
        directory,
        hostPageBytes,
        bytes,
        recovering,
        recovery,
        answerTimeout,
        closeTimeout,
        progressInterval);
  }

  /** {@return a spec to begin with the recovery of a guest that is at the destination, or not} */
  public PostcopySpec withRecovering(boolean atDestination) {
    return new PostcopySpec(
        directory,
        hostPageBytes,
        backgroundBytesPerSecond,
        atDestination,
        recovery,
        answerTimeout,
        closeTimeout,
        progressInterval);
  }

  /** {@return a spec with other attempts to connect again} */
  public PostcopySpec withRecovery(Retry attempts) {
    return new PostcopySpec(
        directory,
        hostPageBytes,
        backgroundBytesPerSecond,
        recovering,
        attempts,
        answerTimeout,
        closeTimeout,
        progressInterval);
  }

  /** {@return a spec with another time that the destination may take to answer} */
  public PostcopySpec withAnswerTimeout(Duration timeout) {
    return new PostcopySpec(
        directory,
        hostPageBytes,
        backgroundBytesPerSecond,
        recovering,
        recovery,
        timeout,
        closeTimeout,
        progressInterval);
  }

  /** {@return a spec with another time that the destination may take to end} */
  public PostcopySpec withCloseTimeout(Duration timeout) {
    return new PostcopySpec(
        directory,
        hostPageBytes,
        backgroundBytesPerSecond,
        recovering,
        recovery,
        answerTimeout,
        timeout,
        progressInterval);
  }

  /** {@return a spec with another time between two reports of progress} */
  public PostcopySpec withProgressInterval(Duration interval) {
    return new PostcopySpec(
        directory,
        hostPageBytes,
        backgroundBytesPerSecond,
        recovering,
        recovery,
        answerTimeout,
        closeTimeout,
        interval);
  }
}
