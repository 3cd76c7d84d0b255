package io.pageflux.examples.fault;

import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * What a destination says of the checkpoint that it holds.
 *
 * @param number which one
 * @param digest of what is in its memory
 */
record HeldText(long number, String digest) {

  private static final Pattern TEXT = Pattern.compile("holds checkpoint (\\d+), ([0-9a-f]+)");

  /** {@return what a message says of it; null if nothing} */
  static @Nullable HeldText of(String message) {
    Matcher matcher = TEXT.matcher(message);
    return matcher.lookingAt()
        ? new HeldText(Long.parseLong(matcher.group(1)), matcher.group(2))
        : null;
  }

  @Override
  public String toString() {
    return "holds checkpoint " + number + ", " + digest;
  }
}
