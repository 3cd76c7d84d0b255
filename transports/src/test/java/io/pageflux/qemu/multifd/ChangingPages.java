package io.pageflux.qemu.multifd;

import io.pageflux.memory.RamBlockLayout;
import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import java.util.Arrays;
import java.util.Random;
import reactor.core.publisher.Flux;

/**
 * The pages of a guest of which a part changes from round to round, at random: so that what arrives
 * is only right if the versions of each page arrive in order.
 */
final class ChangingPages {

  private static final int PAGE = 4096;

  private final RamBlockLayout block;
  private final SlabPool pool;
  private final int rounds;
  private final Random random;
  private final byte[] memory;
  private int round;
  private long nextPage;

  ChangingPages(RamBlockLayout block, SlabPool pool, int rounds, long seed) {
    this.block = block;
    this.pool = pool;
    this.rounds = rounds;
    this.random = new Random(seed);
    this.memory = new byte[Math.toIntExact(block.sizeBytes())];
  }

  /** What the pages are after the last of them was sent. */
  byte[] memory() {
    return memory;
  }

  /** All rounds, one batch after the other; to be subscribed to once. */
  Flux<PageBatch> batches() {
    return Flux.defer(() -> pool.acquire().map(this::next))
        .repeat(() -> round < rounds)
        .doOnDiscard(Lease.class, Lease::release)
        .doOnDiscard(PageBatch.class, PageBatch::release);
  }

  private PageBatch next(Lease lease) {
    PageBatch batch =
        new PageBatch(0, block, lease, pool.geometry().headroomBytes(), pool.geometry());
    while (nextPage < block.pageCount() && batch.hasRoom()) {
      if (round == 0 || random.nextInt(10) == 0) {
        boolean zero = random.nextInt(3) == 0;
        int at = Math.toIntExact(nextPage * PAGE);
        if (zero) {
          Arrays.fill(memory, at, at + PAGE, (byte) 0);
        } else {
          fill(at);
          lease.buffer().put(batch.payloadOffset() + batch.payloadBytes(), memory, at, PAGE);
        }
        batch.append(nextPage, zero ? PageKind.ZERO : PageKind.RAW, zero ? 0 : PAGE);
      }
      nextPage++;
    }
    if (nextPage == block.pageCount()) {
      nextPage = 0;
      round++;
    }
    return batch;
  }

  private void fill(int at) {
    byte[] page = new byte[PAGE];
    random.nextBytes(page);
    if (random.nextBoolean()) {
      Arrays.fill(page, 8, PAGE, page[0]);
    }
    System.arraycopy(page, 0, memory, at, PAGE);
  }
}
