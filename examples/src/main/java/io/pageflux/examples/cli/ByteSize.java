package io.pageflux.examples.cli;

import picocli.CommandLine.TypeConversionException;

/**
 * A size on the command line.
 *
 * @param bytes the size in bytes
 */
public record ByteSize(long bytes) {

  /**
   * Reads a size: {@code 4096}, {@code 64m}, {@code 1.5g}. The suffixes k, m, g and t are powers of
   * 1024, as in QEMU.
   *
   * @throws TypeConversionException if the text is no size
   */
  public static ByteSize parse(String text) {
    return new ByteSize(
        Quantity.parse(text, Quantity.BINARY)
            .orElseThrow(
                () ->
                    new TypeConversionException(
                        "'"
                            + text
                            + "' is not a size: give a number of bytes with or without one of the"
                            + " suffixes k, m, g, t (powers of 1024), such as 64m or 1g")));
  }
}
