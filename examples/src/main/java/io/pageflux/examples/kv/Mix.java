package io.pageflux.examples.kv;

/** The finaliser of SplitMix64 (Steele, Lea and Flood, 2014), and a generator made of it. */
final class Mix {

  private static final long GAMMA = 0x9E3779B97F4A7C15L;

  private long state;

  /** A generator with a state. */
  Mix(long state) {
    this.state = state;
  }

  /** {@return what a generator that goes on from here needs to be made with} */
  long state() {
    return state;
  }

  /** {@return 64 random bits} */
  long next() {
    state += GAMMA;
    return mix(state);
  }

  /** {@return a random number from 0 to {@code bound}, the latter not included} */
  long below(long bound) {
    return Math.unsignedMultiplyHigh(next(), bound);
  }

  /** {@return the bits well mixed; each value has another result} */
  static long mix(long value) {
    long z = value;
    z = (z ^ z >>> 30) * 0xBF58476D1CE4E5B9L;
    z = (z ^ z >>> 27) * 0x94D049BB133111EBL;
    return z ^ z >>> 31;
  }
}
