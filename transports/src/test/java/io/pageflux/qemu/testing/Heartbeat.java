package io.pageflux.qemu.testing;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.NoSuchElementException;

/**
 * The beats of the Linux test guest, with the time at which each one arrived: shows from outside
 * when the guest runs.
 *
 * <p>Holds up to {@value #MOST} beats in 16 MiB, which is more than an hour; later ones are not
 * kept. Thread-safe.
 */
public final class Heartbeat {

  private static final int MOST = 1 << 20;

  private long[] arrivals = new long[1024];
  private byte[] numbers = new byte[1024];
  private int count;

  Heartbeat() {}

  synchronized void accept(ByteBuffer bytes) {
    long now = System.nanoTime();
    while (bytes.hasRemaining() && count < MOST) {
      if (count == arrivals.length) {
        arrivals = Arrays.copyOf(arrivals, 2 * count);
        numbers = Arrays.copyOf(numbers, 2 * count);
      }
      arrivals[count] = now;
      numbers[count++] = bytes.get();
    }
    notifyAll();
  }

  /** How many beats have arrived. */
  public synchronized int count() {
    return count;
  }

  /** When a beat arrived, as {@link System#nanoTime()} gave it. */
  public synchronized long arrival(int index) {
    return arrivals[check(index)];
  }

  /** The number of a beat, 0 to 255: the guest counts on and begins again. */
  public synchronized int number(int index) {
    return numbers[check(index)] & 0xff;
  }

  /** The longest time between two beats, one after the other. */
  public synchronized Duration longestGap() {
    long longest = 0;
    for (int i = 1; i < count; i++) {
      longest = Math.max(longest, arrivals[i] - arrivals[i - 1]);
    }
    return Duration.ofNanos(longest);
  }

  /**
   * How long the guest was seen not to run while it moved: from the last beat here to the first one
   * at the destination, in the same JVM. Longer than the true downtime by up to one period.
   *
   * @throws NoSuchElementException if either has no beat
   */
  public Duration downtime(Heartbeat destination) {
    return Duration.ofNanos(destination.arrival(0) - arrival(count() - 1));
  }

  private int check(int index) {
    if (index < 0 || index >= count) {
      throw new NoSuchElementException("beat " + index + " of " + count);
    }
    return index;
  }
}
