package io.pageflux.examples.cli;

import java.math.BigDecimal;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A number with a suffix that stands for a factor: what sizes, rates and durations have in common.
 */
final class Quantity {

  /** Binary factors, as in QEMU. */
  static final Map<String, Long> BINARY =
      Map.of("", 1L, "b", 1L, "k", 1L << 10, "m", 1L << 20, "g", 1L << 30, "t", 1L << 40);

  private static final Pattern FORM = Pattern.compile("([0-9]{1,19}(?:\\.[0-9]{1,9})?)([a-z]*)");

  private Quantity() {}

  /**
   * {@return the number times its suffix's factor, rounded down; empty if the text is no such
   * quantity or does not fit a {@code long}}
   *
   * @param text the number, and a suffix in either case
   * @param factors the factor of each suffix in lower case
   */
  static Optional<Long> parse(String text, Map<String, Long> factors) {
    Matcher form = FORM.matcher(text.strip().toLowerCase(Locale.ROOT));
    if (!form.matches()) {
      return Optional.empty();
    }
    Long factor = factors.get(form.group(2));
    if (factor == null) {
      return Optional.empty();
    }
    BigDecimal value = new BigDecimal(form.group(1)).multiply(BigDecimal.valueOf(factor));
    if (value.compareTo(BigDecimal.valueOf(Long.MAX_VALUE)) > 0) {
      return Optional.empty();
    }
    return Optional.of(value.longValue());
  }
}
