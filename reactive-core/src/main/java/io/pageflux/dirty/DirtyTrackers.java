package io.pageflux.dirty;

import io.pageflux.MigrationException;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import java.util.Objects;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import reactor.util.Logger;
import reactor.util.Loggers;

/** Makes trackers, and finds the one that fits a memory. */
public final class DirtyTrackers {

  private static final Logger log = Loggers.getLogger(DirtyTrackers.class);

  private DirtyTrackers() {}

  /**
   * What was chosen.
   *
   * @param tracker not started; whoever chose closes it, before the memory
   * @param kind what it is; never {@code AUTO}
   * @param reason why, for people
   */
  public record Selection(DirtyTracker tracker, TrackingSpec.Kind kind, String reason) {

    /** Checks that nothing is missing. */
    public Selection {
      Objects.requireNonNull(tracker, "tracker");
      Objects.requireNonNull(kind, "kind");
      Objects.requireNonNull(reason, "reason");
    }
  }

  /** {@return what {@link #choose(GuestMemory, TrackingSpec)} finds if nothing is said} */
  public static Selection choose(GuestMemory memory) {
    return choose(memory, TrackingSpec.DEFAULT);
  }

  /**
   * Finds the tracker that fits a memory, proves on a scratch memory of the same kind that it works
   * on this system, and logs the choice. It takes some milliseconds and may block.
   *
   * @throws MigrationException of kind {@code TRACKING} if the wanted kind, or with {@code AUTO}
   *     every kind, cannot work; it says why and what to do
   */
  public static Selection choose(GuestMemory memory, TrackingSpec spec) {
    Preconditions.requireOpen(memory);
    Selection selection =
        switch (spec.kind()) {
          case AUTO -> automatic(memory, spec.writers());
          case USERFAULTFD -> {
            String obstacle = obstacleToUserfaultfd(memory, spec.writers());
            if (obstacle != null) {
              throw MigrationException.of(
                  MigrationException.Kind.TRACKING,
                  "userfaultfd was asked for, but "
                      + obstacle
                      + ", and it would not see all writes: ask for AUTO or a comparing kind");
            }
            yield proved(memory, TrackingSpec.Kind.USERFAULTFD, "userfaultfd: ");
          }
          case COMPARING_HASH, COMPARING_SHADOW ->
              proved(memory, spec.kind(), "comparing: asked for, and ");
        };
    log.info("Dirty tracking by {}", selection.reason());
    return selection;
  }

  private static Selection automatic(GuestMemory memory, TrackingSpec.Writers writers) {
    String obstacle = obstacleToUserfaultfd(memory, writers);
    if (obstacle == null) {
      try {
        return proved(memory, TrackingSpec.Kind.USERFAULTFD, "userfaultfd: ");
      } catch (MigrationException e) {
        obstacle = e.getMessage();
      }
    }
    return proved(
        memory, TrackingSpec.Kind.COMPARING_HASH, "comparing: " + obstacle + "; the comparison ");
  }

  private static @Nullable String obstacleToUserfaultfd(
      GuestMemory memory, TrackingSpec.Writers writers) {
    if (writers == TrackingSpec.Writers.OTHER_PROCESSES) {
      return "other processes may write the memory";
    }
    for (RamBlock block : memory.blocks()) {
      if (block.backing() == RamBlock.Backing.FILE) {
        return "block '"
            + block.name()
            + (writers == TrackingSpec.Writers.OWN_PROCESS
                ? "' is a file, which may be written past its mapping"
                : "' is a file that other processes may write");
      }
    }
    return null;
  }

  private static Selection proved(GuestMemory memory, TrackingSpec.Kind kind, String why) {
    Function<GuestMemory, DirtyTracker> factory =
        switch (kind) {
          case USERFAULTFD -> DirtyTrackers::userfaultfd;
          case COMPARING_SHADOW -> DirtyTrackers::comparingShadow;
          case COMPARING_HASH, AUTO -> DirtyTrackers::comparingHashes;
        };
    SelfTest.run(memory, factory);
    return new Selection(factory.apply(memory), kind, why + "passed its self-test");
  }

  /**
   * {@return a tracker that has the kernel tell which pages this process wrote} It uses userfaultfd
   * in asynchronous write-protect mode and {@code PAGEMAP_SCAN}, Linux 6.7 or later; no privilege
   * is needed unless the system refuses the call.
   *
   * <p>A collection costs about 0.4 ms for a clean GiB, and is proportional to what was written
   * besides; a first write to a page costs the writer 1 to 3 microseconds. Pages are reported in
   * units of the machine's pages.
   *
   * <p>Not seen are writes by other processes, through another mapping, or by {@code pwrite} to the
   * file behind the memory: for private and memfd blocks that this process alone writes. A memory
   * can be tracked by one such tracker at a time; {@code start} says so if it is already.
   *
   * <p>Memory: 24 KiB outside the heap, and the kernel's page tables, 2 MiB for each GiB, also for
   * memory that was never touched.
   */
  public static DirtyTracker userfaultfd(GuestMemory memory) {
    return new UserfaultfdTracker(memory);
  }

  /**
   * {@return a tracker that compares a 128-bit hash of each page with that of what was copied last}
   * It sees whatever anybody wrote, on any system. A collection reads all pages that are not in the
   * set already, at some 5 to 9 GB/s on one core.
   *
   * <p>Two contents of the same hash meet by chance once in 2^128; against a guest that is out to
   * make them, use {@link #comparingShadow}.
   *
   * <p>Memory: 16 bytes per page outside the heap, a bit per page and one page on the heap.
   */
  public static DirtyTracker comparingHashes(GuestMemory memory) {
    return ComparingTracker.withHashes(memory);
  }

  /**
   * {@return a tracker that compares each page with a copy of what was copied last} It is exact,
   * and sees whatever anybody wrote, on any system. A collection reads all pages that are not in
   * the set already, and their copies, at some 10 GB/s on one core.
   *
   * <p>Memory: as much again as the guest's outside the heap, and a bit per page on the heap.
   */
  public static DirtyTracker comparingShadow(GuestMemory memory) {
    return ComparingTracker.withShadow(memory);
  }
}
