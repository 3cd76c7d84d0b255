package io.pageflux.examples.fault;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/** Each side a process, to which something happens. */
final class ProcessSides implements RunJudge.Sides, AutoCloseable {

  private final FaultRun run;
  private final RunFolder folder;
  private final ScheduledExecutorService clock =
      Executors.newSingleThreadScheduledExecutor(Thread.ofPlatform().daemon().factory());

  ProcessSides(FaultRun run, RunFolder folder) {
    this.run = run;
    this.folder = folder;
  }

  @Override
  public Side.Source source() {
    return RemoteSides.Sender.start(run, folder.path());
  }

  @Override
  public Side.Destination destination() {
    return RemoteSides.Receiver.start(run, folder.path());
  }

  @Override
  public void disturb(Side.Source source, Side.Destination destination) {
    long from = pid(source);
    long to = pid(destination);
    switch (run.scenario()) {
      case KILL_SOURCE -> later("KILL", from, 0);
      case KILL_DESTINATION -> later("KILL", to, 0);
      case SIGNAL_SOURCE -> later("TERM", from, 0);
      case SIGNAL_DESTINATION -> later("TERM", to, 0);
      case FREEZE_SOURCE -> freeze(from);
      case FREEZE_DESTINATION -> freeze(to);
      case STARVE_DESTINATION -> limitMemory(to, addressSpaceBytes(to) + (run.number() % 8 << 17));
      default -> throw new IllegalArgumentException("no process is needed for " + run.scenario());
    }
  }

  private static long pid(Side side) {
    return switch (side) {
      case RemoteSides.Sender source -> source.process().pid();
      case RemoteSides.Receiver destination -> destination.process().pid();
      default -> throw new IllegalArgumentException("no process: " + side);
    };
  }

  private void later(String signal, long pid, long extraNanos) {
    clock.schedule(
        () -> PartyProcess.run("kill", "-" + signal, "" + pid),
        run.moment().toNanos() + extraNanos,
        TimeUnit.NANOSECONDS);
  }

  /** For longer than the other side waits. */
  private void freeze(long pid) {
    later("STOP", pid, 0);
    later("CONT", pid, FaultRun.PEER_TIMEOUT.multipliedBy(5).dividedBy(2).toNanos());
  }

  private static void limitMemory(long pid, long bytes) {
    PartyProcess.run("prlimit", "--pid=" + pid, "--as=" + bytes);
  }

  private static long addressSpaceBytes(long pid) {
    try {
      String pages = Files.readString(Path.of("/proc/" + pid + "/statm")).split(" ")[0];
      return Long.parseLong(pages) * 4096;
    } catch (IOException e) {
      return 0;
    }
  }

  @Override
  public void calm(Side.Source source, Side.Destination destination) {
    clock.shutdownNow(); // nothing happens to a second attempt
    if (source.isAlive()) {
      PartyProcess.run("kill", "-CONT", "" + pid(source));
    }
    if (destination.isAlive()) {
      PartyProcess.run("kill", "-CONT", "" + pid(destination));
      if (run.scenario() == Scenario.STARVE_DESTINATION) {
        PartyProcess.run("prlimit", "--pid=" + pid(destination), "--as=unlimited");
      }
    }
  }

  @Override
  public void close() {
    clock.shutdownNow();
  }
}
