package io.pageflux.examples.cli;

import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import picocli.CommandLine.TypeConversionException;

/**
 * A rate on the command line.
 *
 * @param bytesPerSecond the rate in bytes per second
 */
public record ByteRate(long bytesPerSecond) {

  private static final Map<String, Long> BITS =
      Map.of(
          "bit", 1L,
          "kbit", 1_000L,
          "mbit", 1_000_000L,
          "gbit", 1_000_000_000L,
          "tbit", 1_000_000_000_000L);

  private static final Map<String, Long> FACTORS = factors();

  private static Map<String, Long> factors() {
    Map<String, Long> all = new HashMap<>(Quantity.BINARY);
    all.putAll(BITS);
    return Map.copyOf(all);
  }

  /**
   * Reads a rate: bytes per second as a {@linkplain ByteSize#parse size}, or bits per second with
   * one of the suffixes bit, kbit, mbit, gbit and tbit, which are powers of 1000. {@code /s} at the
   * end is allowed.
   *
   * @throws TypeConversionException if the text is no rate
   */
  public static ByteRate parse(String text) {
    String number = text.strip().replaceFirst("/s$", "");
    Optional<Long> value = Quantity.parse(number, FACTORS);
    boolean bits = number.toLowerCase(java.util.Locale.ROOT).endsWith("bit");
    return value
        .map(v -> new ByteRate(bits ? v / 8 : v))
        .orElseThrow(
            () ->
                new TypeConversionException(
                    "'"
                        + text
                        + "' is not a rate: give bytes per second with or without one of the"
                        + " suffixes k, m, g, t (powers of 1024), or bits per second with kbit,"
                        + " mbit, gbit (powers of 1000), such as 100m or 10gbit"));
  }
}
