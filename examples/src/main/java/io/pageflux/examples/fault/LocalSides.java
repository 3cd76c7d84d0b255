package io.pageflux.examples.fault;

import io.pageflux.memory.GuestMemory;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import reactor.core.publisher.Mono;

/** Both sides in this process: so pages can be compared at the moment at which the guest starts. */
final class LocalSides implements RunJudge.Sides {

  private final FaultRun run;
  private final RunFolder folder;
  private final boolean sabotage;
  private LocalSource source;

  /**
   * @param sabotage whether to damage a page on its way, so that the bench has something to find
   */
  LocalSides(FaultRun run, RunFolder folder, boolean sabotage) {
    this.run = run;
    this.folder = folder;
    this.sabotage = sabotage;
    this.source = new LocalSource(run, new RunLock(folder.lock()), Mono.never(), () -> {});
  }

  @Override
  public Side.Source source() {
    return source;
  }

  @Override
  public Side.Destination destination() {
    return new LocalDestination(
        run, folder.path(), new RunLock(folder.lock()), Mono.never(), this::compare);
  }

  private void compare(GuestMemory arrived) {
    MemorySegment there = arrived.block(0).segment();
    if (sabotage) {
      there.set(ValueLayout.JAVA_BYTE, 4096, (byte) ~there.get(ValueLayout.JAVA_BYTE, 4096));
    }
    if (source.isRunning()) {
      throw new IllegalStateException(RunLock.TWICE);
    }
    long first = source.memory().block(0).segment().mismatch(there);
    if (first >= 0) {
      throw new IllegalStateException("wrong pages: the first is page " + first / 4096);
    }
  }

  @Override
  public void disturb(Side.Source from, Side.Destination to) {}

  @Override
  public void calm(Side.Source from, Side.Destination to) {}
}
