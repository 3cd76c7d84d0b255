package io.pageflux.codec;

import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class XbzrleCachesTest {

  private static final int PAGE = 4096;

  private final XbzrleCaches caches = new XbzrleCaches();

  @AfterEach
  void close() {
    caches.close();
  }

  @ParameterizedTest
  @ValueSource(ints = {1024, 4096}) // with the small pages, the entries begin within a page
  void theNextOneHasTheMemoryButNoPageOfTheFormerOne(int page) {
    XbzrleCache first = caches.take(2 * page, page);
    MemorySegment memory = first.memory();
    memory.set(JAVA_LONG, first.claim(page, 7), 42);
    caches.giveBack(first);
    XbzrleCache next = caches.take(2 * page + 5, page);
    assertThat(next.memory()).isSameAs(memory);
    assertThat(next.find(page, 8)).isEqualTo(-1);
    assertThat(next.claim(3L * page, 0)).isEqualTo(page);
    caches.giveBack(next);
  }

  @Test
  void oneOfAnotherSizeIsNotKept() {
    XbzrleCache small = caches.take(4 * PAGE, PAGE);
    caches.giveBack(small);
    XbzrleCache large = caches.take(8 * PAGE, PAGE);
    assertThat(large.slots()).isEqualTo(8);
    assertThat(small.memory().scope().isAlive()).isFalse();
    caches.giveBack(large);
    XbzrleCache otherPages = caches.take(8 * PAGE, 2 * PAGE);
    assertThat(otherPages.pageSizeBytes()).isEqualTo(2 * PAGE);
    assertThat(large.memory().scope().isAlive()).isFalse();
    caches.giveBack(otherPages);
  }

  @Test
  void onlyOneIsKeptAndNoneAfterTheEnd() {
    XbzrleCache one = caches.take(PAGE, PAGE);
    XbzrleCache two = caches.take(PAGE, PAGE);
    XbzrleCache three = caches.take(PAGE, PAGE);
    caches.giveBack(one);
    caches.giveBack(two);
    assertThat(one.memory().scope().isAlive()).isTrue();
    assertThat(two.memory().scope().isAlive()).isFalse();
    caches.close();
    assertThat(one.memory().scope().isAlive()).isFalse();
    caches.giveBack(three);
    assertThat(three.memory().scope().isAlive()).isFalse();
  }
}
