package io.pageflux.examples.fault;

import io.pageflux.examples.fault.RunResult.Kind;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * What the two sides say of the guest in the end, in the words of HAND-OVER.md.
 *
 * @param source the source's
 * @param destination the destination's
 * @param runsAtSource whether it runs there, whatever is said
 * @param runsAtDestination whether it runs there, whatever is said
 */
record LastWords(Word source, Word destination, boolean runsAtSource, boolean runsAtDestination) {

  /** What a side may say. */
  enum Word {
    /** The source: the guest goes on here. */
    KEPT,
    /** The source: it runs at the destination. */
    TAKEN,
    /** Either: nobody here knows whether it runs at the destination. */
    UNCERTAIN,
    /** The destination: it does not run here, and will not. */
    RULED_OUT,
    /** The destination: it runs here. */
    RUNS,
    /** Nothing: the process is no more. */
    DIED,
    /** Nothing, and the process is still there. */
    NOTHING
  }

  static LastWords of(Ending out, Ending in) {
    return new LastWords(ofSource(out), ofDestination(in), out.runs(), in.runs());
  }

  private static Word ofSource(Ending out) {
    return switch (out.how()) {
      case COMPLETED -> Word.TAKEN;
      case DIED -> Word.DIED;
      case HANGS -> Word.NOTHING;
      case FAILED -> out.isUncertain() ? Word.UNCERTAIN : out.isThere() ? Word.TAKEN : Word.KEPT;
    };
  }

  private static Word ofDestination(Ending in) {
    return switch (in.how()) {
      case COMPLETED -> Word.RUNS;
      case DIED -> Word.DIED;
      case HANGS -> Word.NOTHING;
      case FAILED -> in.lacksPages() ? Word.RUNS : in.mayRun() ? Word.UNCERTAIN : Word.RULED_OUT;
    };
  }

  /** {@return whether the source has given the guest up, or died} */
  boolean isGivenUp() {
    return source != Word.KEPT && source != Word.NOTHING;
  }

  /** {@return what cannot be so, or does not go together, and what it would be} */
  Map<String, Kind> contradictions() {
    Map<String, Kind> found = new LinkedHashMap<>();
    if (source == Word.KEPT && (destination == Word.RUNS || destination == Word.UNCERTAIN)) {
      found.put(
          "the source says that it keeps the guest, and the destination has it", Kind.TWO_GUESTS);
    }
    if (source == Word.TAKEN && destination == Word.RULED_OUT) {
      found.put("it has left the source and is not at the destination", Kind.LOST);
    }
    if (source == Word.TAKEN && destination == Word.UNCERTAIN) {
      found.put("the source says that the guest runs there, and there nobody knows", Kind.OTHER);
    }
    if (source == Word.KEPT && !runsAtSource) {
      found.put("it does not run at the source, which says that it does", Kind.LOST);
    }
    if ((source == Word.TAKEN || source == Word.UNCERTAIN) && runsAtSource) {
      found.put("it runs at the source, which says that it does not", Kind.TWO_GUESTS);
    }
    if (destination == Word.RUNS && !runsAtDestination) {
      found.put("it does not run at the destination, which says that it does", Kind.LOST);
    }
    if (destination == Word.RULED_OUT && runsAtDestination) {
      found.put("it runs at the destination, which says that it does not", Kind.TWO_GUESTS);
    }
    return found;
  }
}
