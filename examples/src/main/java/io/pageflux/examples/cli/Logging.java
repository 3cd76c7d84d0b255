package io.pageflux.examples.cli;

import java.util.logging.ConsoleHandler;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogManager;
import java.util.logging.Logger;
import reactor.util.Loggers;

/** Where the libraries' logs go: nowhere, unless they are asked for. */
public final class Logging {

  private static final String FORMAT = "%1$tT.%1$tL %4$s %3$s: %5$s%6$s%n";

  private Logging() {}

  /**
   * Sends logs to standard error, or turns them off: a failure is told of once. To be called first
   * before any class of Reactor is loaded, which would log to standard output otherwise.
   */
  public static void configure(boolean verbose) {
    Loggers.useJdkLoggers();
    System.setProperty("java.util.logging.SimpleFormatter.format", FORMAT);
    Logger root = LogManager.getLogManager().getLogger("");
    for (Handler handler : root.getHandlers()) {
      root.removeHandler(handler);
    }
    if (verbose) {
      root.addHandler(new ConsoleHandler());
    }
    root.setLevel(verbose ? Level.INFO : Level.OFF);
  }
}
