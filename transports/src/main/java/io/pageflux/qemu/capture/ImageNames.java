package io.pageflux.qemu.capture;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * What the images of RAM blocks are called.
 *
 * <p>A block's name comes from the peer, and may be {@code /rom@etc/acpi/tables} or worse: whatever
 * is no letter or digit of ASCII, dot, underscore or hyphen becomes an underscore, and so does a
 * dot or hyphen at the beginning.
 */
final class ImageNames {

  static final String SUFFIX = ".ram";

  /** So that a file's name has at most 255 bytes, with a number and all suffixes. */
  private static final int MOST_CHARS = 200;

  private ImageNames() {}

  /** {@return a file name for each block, all different, in the same order} */
  static List<String> of(List<String> blockNames) {
    Set<String> taken = new HashSet<>();
    List<String> names = new ArrayList<>();
    for (String block : blockNames) {
      String stem = stem(block);
      String name = stem + SUFFIX;
      for (int n = 2; !taken.add(name); n++) {
        name = stem + "-" + n + SUFFIX;
      }
      names.add(name);
    }
    return names;
  }

  private static String stem(String block) {
    String plain = block.replaceAll("[^A-Za-z0-9._-]", "_").replaceFirst("^[.-]", "_");
    String stem =
        plain.endsWith(SUFFIX) ? plain.substring(0, plain.length() - SUFFIX.length()) : plain;
    return stem.length() <= MOST_CHARS ? stem : stem.substring(0, MOST_CHARS);
  }
}
