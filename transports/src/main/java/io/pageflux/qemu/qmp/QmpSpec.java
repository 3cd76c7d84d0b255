package io.pageflux.qemu.qmp;

import java.time.Duration;
import java.util.Objects;

/**
 * How a {@link QmpClient} connects. Immutable: each {@code with} method returns a new one.
 *
 * @param address where QEMU listens
 * @param timeout how long connecting, with greeting and negotiation, may take, and then each
 *     command that is not given a time of its own
 * @param maxLineBytes the longest line that is taken from the server; a connection with a longer
 *     one is given up
 */
public record QmpSpec(QmpAddress address, Duration timeout, int maxLineBytes) {

  /** Time for QEMU to answer. */
  public static final Duration DEFAULT_TIMEOUT = Duration.ofSeconds(10);

  /** 4 MiB: the longest answer, of {@code query-qmp-schema}, has some hundred KiB. */
  public static final int DEFAULT_MAX_LINE_BYTES = 4 << 20;

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if one is out of range
   */
  public QmpSpec {
    Objects.requireNonNull(address, "address");
    if (timeout.isNegative() || timeout.isZero()) {
      throw new IllegalArgumentException("timeout > 0 required but it was " + timeout);
    }
    if (maxLineBytes < 1024) {
      throw new IllegalArgumentException(
          "maxLineBytes >= 1024 required but it was " + maxLineBytes);
    }
  }

  /** {@return a spec with the defaults} */
  public static QmpSpec of(QmpAddress address) {
    return new QmpSpec(address, DEFAULT_TIMEOUT, DEFAULT_MAX_LINE_BYTES);
  }

  /**
   * {@return a spec with the defaults}
   *
   * @param address see {@link QmpAddress#parse}
   */
  public static QmpSpec of(String address) {
    return of(QmpAddress.parse(address));
  }

  /** {@return this spec with another time for answers} */
  public QmpSpec withTimeout(Duration timeout) {
    return new QmpSpec(address, timeout, maxLineBytes);
  }

  /** {@return this spec with another limit of a line} */
  public QmpSpec withMaxLineBytes(int maxLineBytes) {
    return new QmpSpec(address, timeout, maxLineBytes);
  }
}
