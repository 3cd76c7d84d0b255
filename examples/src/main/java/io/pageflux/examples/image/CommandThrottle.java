package io.pageflux.examples.image;

import java.time.Duration;

/** Throttles a guest by a command that is told the percentage. */
final class CommandThrottle implements CommandGuest.Throttle {

  private final ShellCommand command;

  CommandThrottle(String command, Duration patience) {
    this.command = new ShellCommand("--on-throttle", command, patience);
  }

  @Override
  public void set(int percent) {
    command.run(Integer.toString(percent));
  }

  @Override
  public void hold() {}
}
