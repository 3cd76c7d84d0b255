package io.pageflux.qemu.postcopy;

import io.pageflux.MigrationException;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * What the thread of a session waits at, whatever it waits for, so that one call can end any wait.
 *
 * <p>This object's monitor guards what is waited for: it is changed in the monitor, then {@link
 * #ring} is called.
 */
final class Bell {

  private @Nullable Throwable stopped;

  /** Ends the session; the first reason counts. For any thread. */
  synchronized void stop(Throwable reason) {
    if (stopped == null) {
      stopped = reason;
    }
    notifyAll();
  }

  /** {@return a time that does not come, to wait until} */
  static long never() {
    return System.nanoTime() + Long.MAX_VALUE / 2;
  }

  /** Says that something has changed. The caller holds the monitor. */
  void ring() {
    notifyAll();
  }

  /** Throws why the session is to end, if it is. */
  synchronized void throwIfStopped() {
    if (stopped != null) {
      throw stopped instanceof RuntimeException e ? e : MigrationException.ofAny(stopped);
    }
  }

  /**
   * Waits until something has changed, perhaps; the caller holds the monitor.
   *
   * @param untilNanos until when at the most, as {@link System#nanoTime()} has it
   * @throws RuntimeException why the session is to end
   */
  void await(long untilNanos) throws InterruptedException {
    throwIfStopped();
    long left = untilNanos - System.nanoTime();
    if (left > 0) {
      TimeUnit.NANOSECONDS.timedWait(this, left);
    }
    throwIfStopped();
  }
}
