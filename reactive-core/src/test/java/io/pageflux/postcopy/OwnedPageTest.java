package io.pageflux.postcopy;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.memory.GuestMemory;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** A guest writes whole pages while the source's copies of them come. */
class OwnedPageTest {

  @Test
  void whatIsMissingWhileItIsBeingWrittenIsHeardOfWhenItIsHere() {
    List<String> told = new ArrayList<>();
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", 2 * 4096).build()) {
      AbsentPages pages = new AbsentPages(memory, PostcopySpec.DEFAULT);
      pages.discard(0, 0, 2);
      pages.onOwned(() -> told.add("written, %d missing".formatted(pages.missing())));
      PageWaiter waiter =
          new PageWaiter() {
            @Override
            void done(@Nullable Throwable failure) {
              told.add(pages.isOwning() ? "is being written" : "is not");
            }
          };
      pages.await(0, 0, 1, waiter);
      MemorySegment contents = MemorySegment.ofArray(new byte[4096]);
      assertThat(pages.isOwning()).isFalse();
      assertThat(pages.own(0, 0, contents, 0)).isTrue();
      assertThat(told).containsExactly("is being written", "written, 1 missing");
      assertThat(pages.own(0, 0, contents, 0)).as("it is here").isFalse();
      assertThat(pages.own(0, 1, contents, 0)).isTrue();
      assertThat(told).last().isEqualTo("written, 0 missing");
      assertThat(pages.isOwning()).isFalse();
    }
  }
}
