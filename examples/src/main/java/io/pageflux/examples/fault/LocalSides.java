package io.pageflux.examples.fault;

import io.pageflux.memory.RamBlock;
import io.pageflux.postcopy.PostcopyMemory;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicBoolean;
import reactor.core.publisher.Mono;

/** Both sides in this process: so pages can be compared at the moment at which the guest starts. */
final class LocalSides implements RunJudge.Sides {

  private static final ValueLayout.OfByte BYTE = ValueLayout.JAVA_BYTE;

  private final FaultRun run;
  private final RunFolder folder;
  private final boolean sabotage;
  private final AtomicBoolean struck = new AtomicBoolean();
  private final LocalSource source;

  /**
   * @param sabotage whether to damage a page on its way, so that the bench has something to find
   */
  LocalSides(FaultRun run, RunFolder folder, boolean sabotage) {
    this.run = run;
    this.folder = folder;
    this.sabotage = sabotage;
    this.source = new LocalSource(run, new RunLock(folder.lock()), Mono.never(), this::strike);
  }

  @Override
  public Side.Source source() {
    return source;
  }

  @Override
  public Side.Destination destination() {
    return new LocalDestination(
        run, folder.path(), new RunLock(folder.lock()), Mono.never(), this::strike, this::compare);
  }

  private void strike() {
    struck.set(true);
  }

  /** Compares the pages that are there. */
  private void compare(PostcopyMemory arrived) {
    if (source.isRunning()) {
      throw new IllegalStateException(RunLock.TWICE);
    }
    RamBlock there = arrived.memory().block(0);
    MemorySegment sent = source.memory().block(0).segment();
    int page = there.pageSizeBytes();
    boolean damaged = !sabotage;
    for (long at = 0; at < there.sizeBytes(); at += page) {
      if (arrived.isHere(0, at, page)) {
        if (!damaged) {
          there.segment().set(BYTE, at, (byte) ~there.segment().get(BYTE, at));
          damaged = true;
        }
        if (MemorySegment.mismatch(sent, at, at + page, there.segment(), at, at + page) >= 0) {
          throw new IllegalStateException("wrong pages: the first is page " + at / page);
        }
      }
    }
  }

  @Override
  public void disturb(Side.Source from, Side.Destination to) {}

  @Override
  public void calm(Side.Source from, Side.Destination to) {}

  @Override
  public boolean struck() {
    return struck.get();
  }

  @Override
  public Path folder() {
    return folder.path();
  }
}
