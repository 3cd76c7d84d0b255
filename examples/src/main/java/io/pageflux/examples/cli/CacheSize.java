package io.pageflux.examples.cli;

/**
 * The size of a cache on the command line, which may be off.
 *
 * @param bytes the size in bytes; 0 for no cache
 */
public record CacheSize(long bytes) {

  /**
   * Reads {@code off}, or a size.
   *
   * @throws picocli.CommandLine.TypeConversionException if the text is neither
   */
  public static CacheSize parse(String text) {
    return new CacheSize(text.equalsIgnoreCase("off") ? 0 : ByteSize.parse(text).bytes());
  }

  @Override
  public String toString() {
    boolean whole = bytes % (1 << 20) == 0;
    return bytes == 0 ? "off" : whole ? (bytes >> 20) + "m" : Long.toString(bytes);
  }
}
