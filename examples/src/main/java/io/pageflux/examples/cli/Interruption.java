package io.pageflux.examples.cli;

import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/**
 * Makes Ctrl-C and SIGTERM an orderly stop.
 *
 * <p>The JVM answers both by running its shutdown hooks while the program goes on, and exits with
 * 130 or 143 when the hooks are done. The hook installed here asks the command to {@linkplain
 * #requests() stop} and waits until it is {@linkplain #finished done}, but not for ever. A command
 * that had succeeded all the same ends the program with 0.
 */
public final class Interruption {

  private final Sinks.Empty<Void> stop = Sinks.empty();
  private final CountDownLatch done = new CountDownLatch(1);
  private final AtomicInteger exitCode = new AtomicInteger(ExitCode.INTERRUPTED);
  private volatile boolean requested;

  /** Makes an interruption that only {@link #request()} can cause. */
  public Interruption() {}

  /**
   * Installs the shutdown hook.
   *
   * @param patience how long the command may take to stop
   */
  public static Interruption install(Duration patience) {
    Interruption interruption = new Interruption();
    Runtime.getRuntime()
        .addShutdownHook(new Thread(() -> interruption.atShutdown(patience), "pageflux-interrupt"));
    return interruption;
  }

  private void atShutdown(Duration patience) {
    if (done.getCount() == 0) {
      return;
    }
    request();
    try {
      if (!done.await(patience.toMillis(), TimeUnit.MILLISECONDS)) {
        System.err.println(
            "pageflux: interrupted, but did not stop in order within " + Durations.text(patience));
        return;
      }
    } catch (InterruptedException e) {
      return;
    }
    if (exitCode.get() == ExitCode.OK) {
      System.out.flush();
      System.err.flush();
      Runtime.getRuntime().halt(ExitCode.OK);
    }
  }

  /** Asks the command to stop. */
  public void request() {
    requested = true;
    stop.tryEmitEmpty();
  }

  /** {@return completes when somebody has asked the command to stop} */
  public Mono<Void> requests() {
    return stop.asMono();
  }

  /** {@return whether somebody has asked the command to stop} */
  public boolean requested() {
    return requested;
  }

  /** Says that the command is done, everything is written, and the program may end. */
  public void finished(int exitCode) {
    this.exitCode.set(exitCode);
    done.countDown();
  }
}
