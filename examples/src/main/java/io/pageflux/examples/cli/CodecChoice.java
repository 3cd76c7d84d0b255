package io.pageflux.examples.cli;

import com.github.luben.zstd.Zstd;
import io.pageflux.migration.CompressionSpec;
import java.util.Locale;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.TypeConversionException;

/**
 * What is done with page contents before they are sent.
 *
 * @param xbzrle whether deltas are sent
 * @param zstdLevel the level of compression; empty for none
 */
public record CodecChoice(boolean xbzrle, OptionalInt zstdLevel) {

  /** The level of {@code zstd} without a level. */
  public static final int DEFAULT_LEVEL = 1;

  /**
   * Reads {@code none}, {@code xbzrle}, {@code zstd}, {@code zstd:LEVEL} or {@code
   * xbzrle+zstd:LEVEL}.
   *
   * @throws TypeConversionException if the text is none of these
   */
  public static CodecChoice parse(String text) {
    String codec = text.strip().toLowerCase(Locale.ROOT);
    if (codec.equals("none")) {
      return new CodecChoice(false, OptionalInt.empty());
    }
    boolean xbzrle = false;
    OptionalInt level = OptionalInt.empty();
    for (String part : codec.split("\\+", -1)) {
      if (part.equals("xbzrle") && !xbzrle) {
        xbzrle = true;
      } else if ((part.equals("zstd") || part.startsWith("zstd:")) && level.isEmpty()) {
        level = OptionalInt.of(part.equals("zstd") ? DEFAULT_LEVEL : level(part.substring(5)));
      } else {
        throw new TypeConversionException(
            "'%s' is not a codec: give none, xbzrle, zstd:LEVEL or xbzrle+zstd:LEVEL"
                .formatted(text));
      }
    }
    return new CodecChoice(xbzrle, level);
  }

  /**
   * Reads {@code none}, {@code zstd} or {@code zstd:LEVEL}.
   *
   * @throws TypeConversionException if the text is none of these
   */
  public static OptionalInt parseCompression(String text) {
    String codec = text.strip().toLowerCase(Locale.ROOT);
    if (codec.equals("none") || codec.equals("zstd") || codec.startsWith("zstd:")) {
      return parse(codec).zstdLevel();
    }
    throw new TypeConversionException(
        "'%s' is not a compression: give none, zstd or zstd:LEVEL".formatted(text));
  }

  /**
   * {@return the compression; null for none}
   *
   * @param workers how many threads compress
   */
  public @Nullable CompressionSpec compression(int workers) {
    return zstdLevel.isEmpty() ? null : new CompressionSpec(zstdLevel.getAsInt(), workers);
  }

  private static int level(String text) {
    int least = Zstd.minCompressionLevel();
    int most = Zstd.maxCompressionLevel();
    if (text.matches("-?[0-9]{1,9}")) {
      int level = Integer.parseInt(text);
      if (level >= least && level <= most) {
        return level;
      }
    }
    throw new TypeConversionException(
        "'%s' is not a level of zstd: those go from %d to %d".formatted(text, least, most));
  }

  @Override
  public String toString() {
    String zstd = zstdLevel.isPresent() ? "zstd:" + zstdLevel.getAsInt() : "";
    if (xbzrle) {
      return zstd.isEmpty() ? "xbzrle" : "xbzrle+" + zstd;
    }
    return zstd.isEmpty() ? "none" : zstd;
  }
}
