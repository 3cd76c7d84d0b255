package io.pageflux.examples.bench.qemu;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SequencedMap;

/** By what means a guest is moved. */
enum Means {
  DEFAULTS("QEMU, defaults", Map.of(), Map.of()),
  XBZRLE("QEMU, xbzrle", Map.of("xbzrle", true), Map.of("xbzrle-cache-size", 512 << 20)),
  MULTIFD("QEMU, multifd", Map.of("multifd", true), multifd("none")),
  MULTIFD_ZLIB("QEMU, multifd zlib", Map.of("multifd", true), multifd("zlib")),
  MULTIFD_ZSTD("QEMU, multifd zstd", Map.of("multifd", true), multifd("zstd")),
  WARM_RELAYS("relays, warm", Map.of("return-path", true), Map.of()),
  COLD_RELAYS("relays, cold", Map.of("return-path", true), Map.of());

  private final String text;
  private final Map<String, Boolean> capabilities;
  private final Map<String, Object> parameters;

  Means(String text, Map<String, Boolean> capabilities, Map<String, Object> parameters) {
    this.text = text;
    this.capabilities = capabilities;
    this.parameters = parameters;
  }

  /** As many channels as the machines of these benchmarks have cores. */
  private static Map<String, Object> multifd(String compression) {
    return Map.of("multifd-channels", 2, "multifd-compression", compression);
  }

  Map<String, Boolean> capabilities() {
    return capabilities;
  }

  Map<String, Object> parameters() {
    return parameters;
  }

  boolean isRelayed() {
    return this == WARM_RELAYS || this == COLD_RELAYS;
  }

  /** {@return those that QEMU has itself, by the names that they have on the command line} */
  static SequencedMap<String, Means> ofQemu() {
    SequencedMap<String, Means> named = new LinkedHashMap<>();
    for (Means means : List.of(DEFAULTS, XBZRLE, MULTIFD, MULTIFD_ZLIB, MULTIFD_ZSTD)) {
      named.put(means.name().toLowerCase(Locale.ROOT).replace('_', '-'), means);
    }
    return named;
  }

  @Override
  public String toString() {
    return text;
  }
}
