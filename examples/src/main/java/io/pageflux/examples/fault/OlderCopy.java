package io.pageflux.examples.fault;

import io.pageflux.examples.kv.KvGuest;
import io.pageflux.examples.kv.KvLoad;
import io.pageflux.memory.RamBlock;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;

/** Makes what a destination may have from before: the guest as it once was, and some of it not. */
final class OlderCopy {

  private static final int SOUND_PAGES_PER_OTHER = 8;

  private OlderCopy() {}

  static void make(RamBlock block, KvLoad load, long seed) {
    KvGuest.create(block, load, seed).close();
    SplittableRandom random = new SplittableRandom(seed);
    int page = block.pageSizeBytes();
    for (long at = 0; at < block.sizeBytes(); at += page) {
      if (random.nextInt(SOUND_PAGES_PER_OTHER) == 0) {
        block.segment().set(ValueLayout.JAVA_BYTE, at + random.nextInt(page), (byte) 0x55);
      }
    }
  }
}
