package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.dirty.DirtyTracker;
import io.pageflux.dirty.DirtyTrackers;
import io.pageflux.dirty.TrackingSpec;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

@Timeout(60)
class CollectionInSlicesTest {

  private final GuestMemory memory =
      GuestMemory.builder().anonymous("a", 40 * 4096).anonymous("b", 8 * 4096).build();
  private final DirtyLedger ledger = new DirtyLedger(memory.layout());
  private final Scheduler thread = Schedulers.newSingle("test-slices", true);

  @AfterEach
  void close() {
    thread.dispose();
    memory.close();
  }

  /** Finds every page, and notes which it was asked for. */
  private static final class Parts implements DirtyTracker {
    final List<String> parts = new ArrayList<>();
    final List<Thread> threads = new ArrayList<>();
    Runnable then = () -> {};

    @Override
    public String name() {
      return "parts";
    }

    @Override
    public void start() {}

    @Override
    public long collect(MemoryPages into) {
      throw new AssertionError("all at once");
    }

    @Override
    public long sliceBytes() {
      return 16 * 4096;
    }

    @Override
    public long collect(MemoryPages into, int blockIndex, long from, long to) {
      parts.add(blockIndex + ":" + from + "-" + to);
      threads.add(Thread.currentThread());
      long found = into.of(blockIndex).addRange(from, to);
      then.run();
      return found;
    }

    @Override
    public void close() {}
  }

  @Test
  void noSliceLooksAtMoreThanItMayAndOthersGetTheThreadInBetween() {
    ledger.beginRound();
    Parts tracker = new Parts();
    List<String> others = new ArrayList<>();
    tracker.then = () -> thread.schedule(() -> others.add("after " + tracker.parts.getLast()));
    var found = CollectionInSlices.of(tracker, ledger, thread).subscribeOn(thread).block(End.LIMIT);
    assertThat(found).isEqualTo(new CollectionInSlices.Found(48, 48 * 4096));
    assertThat(tracker.parts).containsExactly("0:0-16", "0:16-32", "0:32-40", "1:0-8");
    assertThat(others.subList(0, 2)).containsExactly("after 0:0-16", "after 0:16-32");
  }

  @Test
  void aRoundThatBeginsBetweenTwoSlicesLeavesTheRestToTheNextOne() {
    ledger.beginRound();
    ledger.acknowledge();
    Parts tracker = new Parts();
    tracker.then =
        () -> {
          if (tracker.parts.size() == 1) {
            assertThat(ledger.beginRound().cardinality()).isEqualTo(16);
          }
        };
    CollectionInSlices.of(tracker, ledger, thread).subscribeOn(thread).block(End.LIMIT);
    assertThat(ledger.dirty().cardinality()).isEqualTo(32);
    assertThat(ledger.owed()).isEqualTo(48);
  }

  @Test
  void realTrackersFindInPartsWhatTheyFindAtOnce() {
    for (TrackingSpec.Kind kind :
        new TrackingSpec.Kind[] {
          TrackingSpec.Kind.AUTO,
          TrackingSpec.Kind.COMPARING_HASH,
          TrackingSpec.Kind.COMPARING_SHADOW
        }) {
      try (DirtyTracker tracker =
          DirtyTrackers.choose(memory, new TrackingSpec(TrackingSpec.Writers.BY_BACKING, kind))
              .tracker()) {
        tracker.start();
        MemoryPages found = new MemoryPages(memory.layout());
        tracker.collect(found);
        for (var block : memory.blocks()) {
          for (long p = 0; p < block.pageCount(); p++) {
            tracker.copied(block.index(), p, block.segment(), block.pageOffset(p));
          }
        }
        for (long page : new long[] {0, 15, 16, 31, 39}) {
          var a = Objects.requireNonNull(memory.block(0)).segment();
          a.set(
              java.lang.foreign.ValueLayout.JAVA_LONG,
              page * 4096,
              a.get(java.lang.foreign.ValueLayout.JAVA_LONG, page * 4096) + 1);
        }
        MemoryPages parts = new MemoryPages(memory.layout());
        for (long from = 0; from < 40; from += 8) {
          tracker.collect(parts, 0, from, from + 8);
        }
        assertThat(parts.of(0).cardinality()).as("%s", kind).isEqualTo(5);
        for (long page : new long[] {0, 15, 16, 31, 39}) {
          assertThat(parts.of(0).contains(page)).isTrue();
        }
        assertThat(tracker.sliceBytes()).isLessThan(Long.MAX_VALUE);
      }
    }
  }
}
