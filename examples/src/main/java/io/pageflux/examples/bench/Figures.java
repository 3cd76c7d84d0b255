package io.pageflux.examples.bench;

import java.util.Arrays;

/** Some measurements of one thing: what is told of them is the median, and how far they spread. */
public final class Figures {

  private final double[] sorted;

  private Figures(double[] values) {
    this.sorted = values.clone();
    Arrays.sort(sorted);
  }

  /** {@return the figures of some measurements, at least one} */
  public static Figures of(double[] values) {
    return new Figures(values);
  }

  /** {@return the one in the middle, or between the two there} */
  public double median() {
    int n = sorted.length;
    return n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
  }

  /** {@return the least} */
  public double min() {
    return sorted[0];
  }

  /** {@return the greatest} */
  public double max() {
    return sorted[sorted.length - 1];
  }

  /** The figures with one of another series divided by each, measurement by measurement. */
  static Figures ratios(double[] ours, double[] theirs) {
    double[] ratios = new double[ours.length];
    for (int i = 0; i < ratios.length; i++) {
      ratios[i] = ours[i] / theirs[i];
    }
    return of(ratios);
  }

  @Override
  public String toString() {
    return "%.2f (%.2f to %.2f)".formatted(median(), min(), max());
  }
}
