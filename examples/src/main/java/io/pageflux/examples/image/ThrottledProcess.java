package io.pageflux.examples.image;

import io.pageflux.examples.cli.CliException;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.migration.ProcessThrottle;

/** A process that writes the image, throttled by {@code --throttle-pid}. */
final class ThrottledProcess implements CommandGuest.Throttle {

  private final ProcessThrottle throttle;

  ThrottledProcess(long pid) {
    this.throttle = new ProcessThrottle(pid);
  }

  /** Refuses processes that it would be a mistake to stop. */
  static void requireSensible(long pid) {
    boolean mistaken = pid <= 1 || pid == ProcessHandle.current().pid();
    if (mistaken || ProcessHandle.of(pid).isEmpty()) {
      throw new CliException(
          mistaken
              ? "--throttle-pid must be the process that writes the image, but it was " + pid
              : "--throttle-pid: there is no process " + pid,
          ExitCode.USAGE);
    }
  }

  @Override
  public void set(int percent) {
    throttle.set(percent);
  }

  @Override
  public void hold() {
    throttle.hold();
  }
}
