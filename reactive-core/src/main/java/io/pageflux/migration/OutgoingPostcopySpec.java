package io.pageflux.migration;

/**
 * How the source of a migration takes part in post-copy.
 *
 * @param pushWindowBytes how much may be pushed in the background that the destination does not
 *     have yet, at least 1 MiB. A page that is needed while it is on its way takes as long as this
 *     takes on the link; less than the link's bandwidth times its delay leaves it idle
 */
public record OutgoingPostcopySpec(int pushWindowBytes) {

  /** The least window. */
  public static final int MIN_PUSH_WINDOW_BYTES = 1 << 20;

  /** A window of 2 MiB. */
  public static final OutgoingPostcopySpec DEFAULT = new OutgoingPostcopySpec(2 << 20);

  /**
   * Checks the value.
   *
   * @throws IllegalArgumentException if the window is too small
   */
  public OutgoingPostcopySpec {
    if (pushWindowBytes < MIN_PUSH_WINDOW_BYTES) {
      throw new IllegalArgumentException(
          "pushWindowBytes >= %d required but it was %d"
              .formatted(MIN_PUSH_WINDOW_BYTES, pushWindowBytes));
    }
  }
}
