package io.pageflux.prediction;

/**
 * The curve of a guest that was watched for some periods, as if it did the same over and over.
 *
 * <p>How many other pages a longer time would show is taken from those seen in one period only and
 * in two: {@code f1² / 2 f2} are likely to be missing (Chao's estimator for incidences, 1987), and
 * come to light ever more slowly, at first at {@code f1} in the time watched (Colwell and others,
 * 2012).
 */
final class ObservedCurve implements DirtyCurve {

  private final double[][] pages;
  private final double periodSeconds;
  private final double once;
  private final double unseen;
  private final double totalPages;

  /**
   * @param pages by first period and number of periods
   * @param once pages that were dirty in one period
   * @param twice pages that were dirty in two
   */
  ObservedCurve(
      double[][] pages, double periodSeconds, double once, double twice, long totalPages) {
    this.pages = pages;
    this.periodSeconds = periodSeconds;
    this.once = once;
    this.totalPages = totalPages;
    double missing = twice > 0 ? once * once / (2 * twice) : once * Math.max(0, once - 1) / 2;
    this.unseen = Math.min(missing, totalPages - pages[0][pages.length]);
  }

  @Override
  public double lengthSeconds() {
    return pages.length * periodSeconds;
  }

  @Override
  public double pages(double fromSeconds, double seconds, double extrapolation) {
    int n = pages.length;
    double begin = fromSeconds / periodSeconds % n;
    double length = Math.max(0, seconds / periodSeconds);
    int first = Math.min(n - 1, (int) begin);
    double part = begin - first;
    // Between two beginnings, so that the curve has no steps where it is asked in steps.
    return (1 - part) * from(first, length, extrapolation)
        + part * from((first + 1) % n, length, extrapolation);
  }

  private double from(int first, double periods, double extrapolation) {
    int n = pages.length;
    if (periods >= n) {
      return beyond(pages[first][n], (periods - n) / n, extrapolation);
    }
    int k = (int) periods;
    double part = periods - k;
    return (1 - part) * pages[first][k] + part * pages[first][k + 1];
  }

  private double beyond(double seen, double times, double extrapolation) {
    double fastest = Math.min(seen + once * times, totalPages);
    double likely =
        unseen <= 0 ? seen : seen + unseen * (1 - Math.exp(-Math.min(once / unseen, 1e9) * times));
    likely = Math.min(likely, fastest);
    return extrapolation < 0
        ? likely + extrapolation * (likely - seen)
        : likely + extrapolation * (fastest - likely);
  }
}
