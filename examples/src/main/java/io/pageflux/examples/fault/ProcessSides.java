package io.pageflux.examples.fault;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/** Each side in a process, to which something may happen. */
final class ProcessSides implements RunJudge.Sides, AutoCloseable {

  private final FaultRun run;
  private final RunFolder folder;
  private final PartyPool pool;
  private final List<PartyProcess> taken = new ArrayList<>();
  private final ScheduledExecutorService clock =
      Executors.newSingleThreadScheduledExecutor(Thread.ofPlatform().daemon().factory());

  // Guarded by this object's monitor.
  private boolean calm;
  private boolean struck;

  ProcessSides(FaultRun run, RunFolder folder, PartyPool pool) {
    this.run = run;
    this.folder = folder;
    this.pool = pool;
  }

  private PartyProcess take() {
    PartyProcess process = pool.take();
    taken.add(process);
    process.whenStriking(() -> strike(() -> {}));
    return process;
  }

  @Override
  public Side.Source source() {
    return RemoteSides.Sender.begin(take(), run, folder.path());
  }

  @Override
  public Side.Destination destination() {
    PartyProcess process;
    if (run.scenario() == Scenario.FULL_DISK && !isCalm()) {
      process =
          PartyProcess.startOnSmallDisk(
              folder.disk(), run.sizeBytes() * (1 + run.number() % 5) / 16);
      if (process == null) {
        throw new NotPossibleHere("a file system of its own");
      }
      taken.add(process);
      strike(() -> {});
    } else {
      process = take();
    }
    return RemoteSides.Receiver.begin(process, run, folder.path());
  }

  /** What this machine does not allow. */
  static final class NotPossibleHere extends RuntimeException {
    private static final long serialVersionUID = 1L;

    NotPossibleHere(String what) {
      super(what);
    }
  }

  @Override
  public void disturb(Side.Source source, Side.Destination destination) {
    PartyProcess from = process(source);
    PartyProcess to = process(destination);
    switch (run.scenario()) {
      case KILL_SOURCE, CHECKPOINTS_KILL_SOURCE -> then(from, from::kill);
      case KILL_DESTINATION -> then(from, to::kill);
      case SIGNAL_SOURCE -> then(from, from::interrupt);
      case SIGNAL_DESTINATION -> then(from, to::interrupt);
      case FREEZE_SOURCE -> then(from, () -> freeze(from));
      case FREEZE_DESTINATION -> then(from, () -> freeze(to));
      case STARVE_DESTINATION ->
          strike(
              () ->
                  to.ask(
                      PartyProcess.request("starve")
                          .put("heap", run.xbzrle())
                          .put("left", run.moment().toNanos() / 100 % (2 << 20)),
                      "starving"));
      default -> {} // it does not happen to a process, or has happened
    }
  }

  private static PartyProcess process(Side side) {
    return switch (side) {
      case RemoteSides.Sender sender -> sender.process();
      case RemoteSides.Receiver receiver -> receiver.process();
      default -> throw new IllegalArgumentException("no process: " + side);
    };
  }

  private void then(PartyProcess source, Runnable action) {
    if (run.atPlace()) {
      source.whenStriking(() -> strike(action));
    } else {
      clock.schedule(() -> strike(action), run.moment().toNanos(), TimeUnit.NANOSECONDS);
    }
  }

  /** Has something happen, unless the attempt is over. */
  private synchronized void strike(Runnable action) {
    if (!calm) {
      struck = true;
      action.run();
    }
  }

  private synchronized boolean isCalm() {
    return calm;
  }

  @Override
  public synchronized boolean struck() {
    return struck;
  }

  @Override
  public Path folder() {
    return folder.path();
  }

  /** For longer than the other side waits. */
  private void freeze(PartyProcess process) {
    signal("STOP", process);
    clock.schedule(
        () -> signal("CONT", process),
        FaultRun.PEER_TIMEOUT.multipliedBy(2).toNanos(),
        TimeUnit.NANOSECONDS);
  }

  private static void signal(String name, PartyProcess process) {
    PartyProcess.run("kill", "-" + name, "" + process.pid());
  }

  @Override
  public void calm(Side.Source source, Side.Destination destination) {
    boolean happened;
    synchronized (this) {
      calm = true;
      happened = struck;
    }
    clock.shutdown(); // who is frozen wakes up; nothing else begins
    if (happened && run.scenario().endsSource()) {
      process(source).close();
    }
    if (happened && run.scenario().endsDestination()) {
      process(destination).close();
    }
  }

  @Override
  public void close() {
    clock.shutdownNow();
    taken.forEach(pool::give);
  }
}
