package io.pageflux.transport.fault;

import java.time.Duration;
import java.util.Objects;

/**
 * What happens to one direction of a connection.
 *
 * @param kind what
 * @param place where; what comes before is not touched
 * @param time how long, where that matters; zero for ever
 */
public record Fault(Kind kind, Place place, Duration time) {

  /** What can happen. */
  public enum Kind {
    /** Nothing. */
    NONE,
    /** The connection breaks, both ways; what was on its way may be lost with it. */
    CUT,
    /** What came before arrives, and then the end of the stream; the connection is closed. */
    END,
    /** One bit of the byte after the place is changed: bit {@code count % 8}. Bytes only. */
    FLIP,
    /**
     * Nothing passes, for a time or for ever, and nothing is asked for: the sending side feels it.
     */
    STALL,
    /** All is taken, and nothing arrives: a half-open connection, of which nobody is told. */
    SWALLOW,
    /** Each buffer takes a time, one after the other: a slow line. */
    DELAY
  }

  /** No fault. */
  public static final Fault NONE = new Fault(Kind.NONE, Place.START, Duration.ZERO);

  /** Checks that they fit together. */
  public Fault {
    Objects.requireNonNull(kind, "kind");
    Objects.requireNonNull(place, "place");
    if (time.isNegative() || kind == Kind.DELAY && time.isZero()) {
      throw new IllegalArgumentException("a " + kind + " of " + time);
    }
    if (kind == Kind.FLIP && place.unit() != Place.Unit.BYTES) {
      throw new IllegalArgumentException("a bit is flipped in a byte, not " + place);
    }
  }

  /** The connection breaks. */
  public static Fault cut(Place place) {
    return new Fault(Kind.CUT, place, Duration.ZERO);
  }

  /** The connection breaks when so many bytes have passed. */
  public static Fault cutAfter(long bytes) {
    return cut(Place.afterBytes(bytes));
  }

  /** The stream ends. */
  public static Fault end(Place place) {
    return new Fault(Kind.END, place, Duration.ZERO);
  }

  /** Exactly so many bytes arrive, and then the end of the stream. */
  public static Fault endAfter(long bytes) {
    return end(Place.afterBytes(bytes));
  }

  /** One bit of a byte is changed. */
  public static Fault flip(long byteIndex) {
    return new Fault(Kind.FLIP, Place.afterBytes(byteIndex), Duration.ZERO);
  }

  /** Nothing passes any more, for ever. */
  public static Fault stall(Place place) {
    return stall(place, Duration.ZERO);
  }

  /** Nothing passes for a time. */
  public static Fault stall(Place place, Duration time) {
    return new Fault(Kind.STALL, place, time);
  }

  /** Nothing arrives any more, and nobody is told. */
  public static Fault swallow(Place place) {
    return new Fault(Kind.SWALLOW, place, Duration.ZERO);
  }

  /** Each buffer takes a time from a place on. */
  public static Fault delay(Place place, Duration time) {
    return new Fault(Kind.DELAY, place, time);
  }

  /** {@return this fault at another place} */
  public Fault at(Place other) {
    return new Fault(kind, other, time);
  }

  @Override
  public String toString() {
    return switch (kind) {
      case NONE -> "none";
      case DELAY -> "delay of %d us %s".formatted(time.toNanos() / 1000, place);
      case STALL ->
          time.isZero()
              ? "stall " + place
              : "stall of %d us %s".formatted(time.toNanos() / 1000, place);
      default -> kind.name().toLowerCase(java.util.Locale.ROOT) + " " + place;
    };
  }
}
