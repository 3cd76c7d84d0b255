package io.pageflux.migration;

import io.pageflux.MigrationException;
import java.io.IOException;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * Throttles a process by stopping it for a part of the time: as QEMU does with its processors, it
 * runs for 10 ms at a time, and is stopped in between for as long as makes up the percentage, which
 * is 990 ms at the most.
 *
 * <p>A thread of its own does that while the percentage is above 0. It lets the process go on
 * before it ends, whatever it ends by; and so does the end of this JVM, for which a {@link
 * ThrottleGuard} is there if it is SIGKILL.
 */
public final class ProcessThrottle {

  private static final long RUN_NANOS = 10_000_000;

  private final long pid;
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  private int percent;
  private boolean held;
  private boolean stopped;
  private @Nullable Thread thread;
  private @Nullable String failure;

  /**
   * Makes one of a process, which is left alone until something is {@linkplain #set set}.
   *
   * @param pid must be another process than this one
   */
  public ProcessThrottle(long pid) {
    this.pid = pid;
  }

  /**
   * Takes a part of its time from the process. May block for a moment; from any thread.
   *
   * @param newPercent 0 to 99
   * @throws MigrationException of kind {@code GUEST} if the process cannot be sent signals
   */
  public void set(int newPercent) {
    lock.lock();
    try {
      percent = held ? 0 : newPercent;
      changed.signalAll();
      if (percent > 0 && thread == null) {
        failure = null;
        begin();
      } else if (percent == 0) {
        awaitEnd();
      }
      if (failure != null && newPercent > 0) {
        throw MigrationException.of(MigrationException.Kind.GUEST, failure);
      }
    } finally {
      lock.unlock();
    }
  }

  /** Lets the process go on for good. When this returns, no signal is sent to it any more. */
  public void hold() {
    lock.lock();
    try {
      held = true;
      percent = 0;
      changed.signalAll();
      awaitEnd();
    } finally {
      lock.unlock();
    }
  }

  private void begin() {
    // Found out here, where it can be told.
    send(Signals.SIGCONT);
    if (failure != null) {
      return;
    }
    ThrottleGuard guard;
    try {
      guard = ThrottleGuard.of(pid);
    } catch (IOException e) {
      failure =
          "process %d is not stopped, for nobody would let it go on if this one were killed: %s"
              .formatted(pid, e.getMessage());
      return;
    }
    Thread letGoOn = new Thread(() -> Signals.kill(pid, Signals.SIGCONT));
    Runtime.getRuntime().addShutdownHook(letGoOn);
    thread =
        Thread.ofPlatform().name("throttle-" + pid).daemon().start(() -> takeTurns(letGoOn, guard));
  }

  /** Not interruptible: who asks relies on the process being left alone. */
  private void awaitEnd() {
    while (thread != null) {
      changed.awaitUninterruptibly();
    }
  }

  private void takeTurns(Thread letGoOn, ThrottleGuard guard) {
    lock.lock();
    try {
      while (percent > 0 && failure == null) {
        turn(false, RUN_NANOS);
        turn(true, RUN_NANOS * percent / (100 - percent));
      }
    } finally {
      if (stopped) {
        send(Signals.SIGCONT);
        stopped = false;
      }
      guard.dismiss();
      thread = null;
      changed.signalAll();
      lock.unlock();
      removeHook(letGoOn);
    }
  }

  private static void removeHook(Thread letGoOn) {
    try {
      Runtime.getRuntime().removeShutdownHook(letGoOn);
    } catch (IllegalStateException e) {
      // This JVM ends, and lets the process go on as well.
    }
  }

  /** Has the process stopped or not for a while, or until the percentage changes to 0. */
  private void turn(boolean stop, long nanos) {
    if (percent == 0 || failure != null) {
      return;
    }
    if (stop != stopped) {
      send(stop ? Signals.SIGSTOP : Signals.SIGCONT);
      stopped = stop;
    }
    long left = nanos;
    while (left > 0 && percent > 0) {
      try {
        left = changed.awaitNanos(left);
      } catch (InterruptedException e) {
        percent = 0; // Nobody does; were it so, the process is to go on.
      }
    }
  }

  private void send(int signal) {
    int error = Signals.kill(pid, signal);
    if (error != 0) {
      failure =
          "process %d cannot be sent signal %d: %s".formatted(pid, signal, Signals.text(error));
    }
  }
}
