package io.pageflux.examples.kv;

import java.util.concurrent.locks.LockSupport;
import java.util.function.LongConsumer;
import java.util.function.LongSupplier;

/**
 * Holds work to a rate without a busy wait.
 *
 * <p>Each piece of work has a time at which it is due. A thread may be up to a millisecond ahead of
 * it, so that it sleeps a thousand times a second at the most, and what it could not do in time it
 * makes up for, but not for more than 50 ms. For one thread.
 */
final class Pace {

  static final long AHEAD_NANOS = 1_000_000;
  static final long BEHIND_NANOS = 50_000_000;
  static final long MOST_SLEEP_NANOS = 10_000_000;

  private final double nanosPerByte;
  private final LongSupplier clock;
  private final LongConsumer sleep;
  private final long base;
  private double due;

  /**
   * @param bytesPerSecond the rate, above 0
   */
  Pace(double bytesPerSecond) {
    this(bytesPerSecond, System::nanoTime, LockSupport::parkNanos);
  }

  /**
   * @param clock tells nanoseconds
   * @param sleep sleeps for nanoseconds, or less
   */
  Pace(double bytesPerSecond, LongSupplier clock, LongConsumer sleep) {
    this.nanosPerByte = 1e9 / bytesPerSecond;
    this.clock = clock;
    this.sleep = sleep;
    this.base = clock.getAsLong();
  }

  /**
   * Accounts for work that is about to be done, or sleeps for a while.
   *
   * @return whether the work may be done now; if not, ask again
   */
  boolean tryAcquire(long bytes) {
    double now = clock.getAsLong() - base;
    if (due - now > AHEAD_NANOS) {
      // In pieces, so that who runs slowly can be stopped at once.
      sleep.accept((long) Math.min(due - now, MOST_SLEEP_NANOS));
      return false;
    }
    due = Math.max(due, now - BEHIND_NANOS) + bytes * nanosPerByte;
    return true;
  }
}
