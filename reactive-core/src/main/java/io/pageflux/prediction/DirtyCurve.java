package io.pageflux.prediction;

/** How many distinct pages a guest dirties within some time. Immutable, for any thread. */
public interface DirtyCurve {

  /** {@return how long the guest was watched, in seconds; above 0} */
  double lengthSeconds();

  /**
   * {@return the distinct pages that are dirtied from a moment on}
   *
   * @param fromSeconds when it begins, from 0; beyond the length it begins anew
   * @param seconds how long it lasts
   * @param extrapolation what to believe of times longer than were watched: -1 that no other pages
   *     are ever written, 0 what is likely, 1 that other pages go on to be written as fast as ever
   */
  double pages(double fromSeconds, double seconds, double extrapolation);
}
