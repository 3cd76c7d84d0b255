package io.pageflux.postcopy;

import java.time.Duration;
import java.util.Objects;

/**
 * How absent pages are waited for.
 *
 * @param fetchTimeout how long one access waits for its pages; zero for as long as it takes
 * @param onSourceLost what becomes of those who wait when the source is lost
 * @param maxRequests how many pages are asked for at a time, 1 to 512; who needs others waits for
 *     their turn
 */
public record PostcopySpec(Duration fetchTimeout, SourceLost onSourceLost, int maxRequests) {

  /** The most pages that may be asked for at a time. */
  public static final int MAX_REQUESTS = 512;

  /** 30 s, an error when the source is lost, 256 requests at a time. */
  public static final PostcopySpec DEFAULT =
      new PostcopySpec(Duration.ofSeconds(30), SourceLost.FAIL, 256);

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if one is out of range
   */
  public PostcopySpec {
    Objects.requireNonNull(fetchTimeout, "fetchTimeout");
    Objects.requireNonNull(onSourceLost, "onSourceLost");
    if (fetchTimeout.isNegative()) {
      throw new IllegalArgumentException("fetchTimeout >= 0 required but it was " + fetchTimeout);
    }
    if (maxRequests < 1 || maxRequests > MAX_REQUESTS) {
      throw new IllegalArgumentException(
          "1 to " + MAX_REQUESTS + " requests required but it was " + maxRequests);
    }
  }

  /** {@return this with another patience of an access; zero for as long as it takes} */
  public PostcopySpec withFetchTimeout(Duration timeout) {
    return new PostcopySpec(timeout, onSourceLost, maxRequests);
  }

  /** {@return this with another fate of those who wait for a lost source} */
  public PostcopySpec withOnSourceLost(SourceLost what) {
    return new PostcopySpec(fetchTimeout, what, maxRequests);
  }

  /** {@return this with another number of requests at a time} */
  public PostcopySpec withMaxRequests(int requests) {
    return new PostcopySpec(fetchTimeout, onSourceLost, requests);
  }
}
