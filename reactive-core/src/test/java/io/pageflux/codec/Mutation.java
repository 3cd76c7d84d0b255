package io.pageflux.codec;

import java.lang.foreign.MemorySegment;
import java.util.Random;

/** The ways in which a page changes, in tests. */
enum Mutation {
  NOTHING {
    @Override
    void apply(MemorySegment page, Random random) {}
  },
  ONE_BYTE {
    @Override
    void apply(MemorySegment page, Random random) {
      Bytes.change(page, random.nextLong(page.byteSize()), random);
    }
  },
  SCATTERED_BYTES {
    @Override
    void apply(MemorySegment page, Random random) {
      for (long i = page.byteSize() / 100; i >= 0; i--) {
        Bytes.change(page, random.nextLong(page.byteSize()), random);
      }
    }
  },
  A_RUN {
    @Override
    void apply(MemorySegment page, Random random) {
      long from = random.nextLong(page.byteSize());
      long to = from + random.nextLong(page.byteSize() - from + 1);
      for (long i = from; i < to; i++) {
        Bytes.change(page, i, random);
      }
    }
  },
  WORDS {
    @Override
    void apply(MemorySegment page, Random random) {
      for (int n = random.nextInt(20); n >= 0; n--) {
        long word = random.nextLong(page.byteSize() / 8) * 8;
        for (int i = 0; i < 8; i++) {
          Bytes.set(page, word + i, random.nextInt(4)); // Some bytes of it stay as they were.
        }
      }
    }
  },
  /** Every byte with some probability: runs of every short length; often an overflow. */
  DENSITY {
    @Override
    void apply(MemorySegment page, Random random) {
      double density = random.nextDouble();
      for (long i = 0; i < page.byteSize(); i++) {
        if (random.nextDouble() < density) {
          Bytes.change(page, i, random);
        }
      }
    }
  },
  NEARLY_EVERYTHING {
    @Override
    void apply(MemorySegment page, Random random) {
      int equal = random.nextInt(24);
      for (long i = 0; i < page.byteSize(); i++) {
        if (i % 256 >= equal / 4) {
          Bytes.change(page, i, random);
        }
      }
    }
  };

  abstract void apply(MemorySegment page, Random random);
}
