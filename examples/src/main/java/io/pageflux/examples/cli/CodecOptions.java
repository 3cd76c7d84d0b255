package io.pageflux.examples.cli;

import io.pageflux.codec.XbzrleSpec;
import io.pageflux.migration.CompressionSpec;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;

/** What is done with page contents before they are sent. */
public final class CodecOptions {
  @Option(
      names = "--compress",
      paramLabel = "CODEC",
      converter = CompressionConverter.class,
      description = "zstd:LEVEL, or none (${DEFAULT-VALUE}).")
  private CodecChoice compression;

  @Option(
      names = "--workers",
      paramLabel = "N",
      defaultValue = "2",
      description = "How many threads compress (${DEFAULT-VALUE}).")
  private int workers;

  @Option(
      names = "--xbzrle-cache",
      paramLabel = "SIZE",
      description = "Memory for sending deltas of pages, or off (${DEFAULT-VALUE}).")
  private CacheSize xbzrleCache;

  private CodecOptions(String compression, String xbzrleCache) {
    this.compression = new CompressionConverter().convert(compression);
    this.xbzrleCache = CacheSize.parse(xbzrleCache);
  }

  /** {@return options that compress unless they are told otherwise: for what crosses a link} */
  public static CodecOptions compressing() {
    return new CodecOptions("zstd:1", "64m");
  }

  /** {@return options that send pages as they are: for what stays on the host} */
  public static CodecOptions plain() {
    return new CodecOptions("none", "off");
  }

  /**
   * Refuses what is out of range.
   *
   * @throws CliException if so
   */
  public void requireSense() {
    if (workers < 1 || workers > CompressionSpec.MAX_WORKERS) {
      throw new CliException(
          "--workers must be 1 to %d, but it was %d"
              .formatted(CompressionSpec.MAX_WORKERS, workers),
          ExitCode.USAGE);
    }
  }

  /** {@return the compression; null for none} */
  public @Nullable CompressionSpec compression() {
    return compression.compression(workers);
  }

  /** {@return the deltas; null for none} */
  public @Nullable XbzrleSpec xbzrle() {
    return xbzrleCache.bytes() == 0 ? null : XbzrleSpec.DEFAULT.withCacheBytes(xbzrleCache.bytes());
  }

  /** Reads {@code --compress}. */
  public static final class CompressionConverter implements ITypeConverter<CodecChoice> {
    /** Made by picocli. */
    public CompressionConverter() {}

    @Override
    public CodecChoice convert(String value) {
      return new CodecChoice(false, CodecChoice.parseCompression(value));
    }
  }
}
