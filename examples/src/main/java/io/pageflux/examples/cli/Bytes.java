package io.pageflux.examples.cli;

import java.util.Locale;

/** Sizes and rates for people. */
public final class Bytes {

  private static final String[] UNITS = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};

  private Bytes() {}

  /** {@return a size such as {@code 1.50 GiB}} */
  public static String text(double bytes) {
    double value = bytes;
    int unit = 0;
    while (value >= 1024 && unit < UNITS.length - 1) {
      value /= 1024;
      unit++;
    }
    String form = unit == 0 || value >= 1000 ? "%.0f %s" : value >= 100 ? "%.1f %s" : "%.2f %s";
    return String.format(Locale.ROOT, form, value, UNITS[unit]);
  }

  /** {@return a rate such as {@code 100.0 MiB/s}} */
  public static String rate(double bytesPerSecond) {
    return text(bytesPerSecond) + "/s";
  }
}
