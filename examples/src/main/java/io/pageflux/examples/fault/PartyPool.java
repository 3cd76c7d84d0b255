package io.pageflux.examples.fault;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.CompletableFuture;

/**
 * Processes for sides of runs. Those that survive a run serve another one; one more than are in use
 * is started ahead, since that takes longer than a run.
 */
final class PartyPool implements AutoCloseable {

  private final Deque<PartyProcess> idle = new ArrayDeque<>();
  private final Set<PartyProcess> all = new HashSet<>();
  private CompletableFuture<PartyProcess> spare = startSpare();
  private int started;

  private static CompletableFuture<PartyProcess> startSpare() {
    return CompletableFuture.supplyAsync(
        PartyProcess::start, command -> Thread.ofPlatform().daemon().start(command));
  }

  /** Takes a process that lives. */
  PartyProcess take() {
    while (!idle.isEmpty()) {
      PartyProcess next = idle.pop();
      if (next.isAlive()) {
        return next;
      }
      discard(next);
    }
    PartyProcess next = spare.join();
    all.add(next);
    started++;
    spare = startSpare();
    return next;
  }

  /** Gives a process back after a run. */
  void give(PartyProcess process) {
    if (process.isAlive()) {
      idle.push(process);
    } else {
      discard(process);
    }
  }

  private void discard(PartyProcess process) {
    all.remove(process);
    process.close();
  }

  /** {@return how many processes were used so far} */
  int started() {
    return started;
  }

  @Override
  public void close() {
    all.forEach(PartyProcess::close);
    spare.join().close();
  }
}
