package io.pageflux.examples.control;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.pageflux.codec.XbzrleSpec;
import io.pageflux.convergence.AutoConverge;
import io.pageflux.examples.cli.ByteRate;
import io.pageflux.examples.cli.ByteSize;
import io.pageflux.examples.cli.Durations;
import io.pageflux.migration.CompressionSpec;
import io.pageflux.migration.MigrationParameters;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A migration's parameters with the names, units and value forms of QEMU's {@code
 * migrate-set-parameters}: {@code max-bandwidth} in bytes per second, {@code downtime-limit} in
 * milliseconds, {@code multifd-compression} ({@code none}, {@code zstd}), {@code
 * multifd-zstd-level}, {@code compress-threads}, {@code xbzrle-cache-size} in bytes, and the
 * constants of auto-converge in percent, if it was chosen. What QEMU does not have: a cache of 0
 * bytes sends no deltas, and zstd's levels go beyond 20 and below 0.
 */
final class ParameterNames {

  private static final String MAX_BANDWIDTH = "max-bandwidth";
  private static final String DOWNTIME_LIMIT = "downtime-limit";
  private static final String COMPRESSION = "multifd-compression";
  private static final String LEVEL = "multifd-zstd-level";
  private static final String THREADS = "compress-threads";
  private static final String CACHE_SIZE = "xbzrle-cache-size";
  private static final String TRIGGER = "throttle-trigger-threshold";
  private static final String INITIAL = "cpu-throttle-initial";
  private static final String INCREMENT = "cpu-throttle-increment";
  private static final String TAILSLOW = "cpu-throttle-tailslow";
  private static final String MAX_THROTTLE = "max-cpu-throttle";

  /** What there is only of a migration with auto-converge. */
  private static final List<String> RULE =
      List.of(TRIGGER, INITIAL, INCREMENT, TAILSLOW, MAX_THROTTLE);

  private static final String ALL =
      String.join(", ", MAX_BANDWIDTH, DOWNTIME_LIMIT, COMPRESSION, LEVEL, THREADS, CACHE_SIZE)
          + "; and with auto-converge "
          + String.join(", ", RULE);

  private ParameterNames() {}

  /** {@return the parameters as {@code query-migrate-parameters} has them} */
  static ObjectNode json(MigrationParameters parameters) {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put(MAX_BANDWIDTH, parameters.maxBandwidth());
    json.put(DOWNTIME_LIMIT, parameters.downtimeLimit().toMillis());
    CompressionSpec compression = parameters.compression();
    json.put(COMPRESSION, compression == null ? "none" : "zstd");
    if (compression != null) {
      json.put(LEVEL, compression.level());
      json.put(THREADS, compression.workers());
    }
    XbzrleSpec xbzrle = parameters.xbzrle();
    json.put(CACHE_SIZE, xbzrle == null ? 0 : xbzrle.cacheBytes());
    AutoConverge.Settings rule = parameters.autoConverge();
    if (rule != null) {
      json.put(TRIGGER, rule.triggerThreshold());
      json.put(INITIAL, rule.initial());
      json.put(INCREMENT, rule.increment());
      json.put(TAILSLOW, rule.tailslow());
      json.put(MAX_THROTTLE, rule.max());
    }
    return json;
  }

  /**
   * {@return parameters changed by the arguments of {@code migrate-set-parameters}}
   *
   * @throws IllegalArgumentException if one is unknown, or of the wrong form or out of range
   */
  static MigrationParameters change(MigrationParameters before, JsonNode arguments) {
    requireKnown(arguments);
    MigrationParameters changed = before;
    if (arguments.has(MAX_BANDWIDTH)) {
      changed = changed.withMaxBandwidth(number(arguments, MAX_BANDWIDTH, 0, Long.MAX_VALUE));
    }
    if (arguments.has(DOWNTIME_LIMIT)) {
      long most = io.pageflux.migration.OutgoingControl.MAX_DOWNTIME_LIMIT.toMillis();
      changed =
          changed.withDowntimeLimit(Duration.ofMillis(number(arguments, DOWNTIME_LIMIT, 0, most)));
    }
    if (arguments.has(CACHE_SIZE)) {
      changed = changed.withXbzrle(cache(before.xbzrle(), arguments));
    }
    if (arguments.has(COMPRESSION) || arguments.has(LEVEL) || arguments.has(THREADS)) {
      changed = changed.withCompression(compression(before.compression(), arguments));
    }
    if (RULE.stream().anyMatch(arguments::has)) {
      changed = changed.withAutoConverge(rule(before.autoConverge(), arguments));
    }
    return changed;
  }

  private static void requireKnown(JsonNode arguments) {
    for (Map.Entry<String, JsonNode> argument : arguments.properties()) {
      switch (argument.getKey()) {
        case MAX_BANDWIDTH, DOWNTIME_LIMIT, COMPRESSION, LEVEL, THREADS, CACHE_SIZE -> {}
        case TRIGGER, INITIAL, INCREMENT, TAILSLOW, MAX_THROTTLE -> {}
        default ->
            throw new IllegalArgumentException(
                "there is no parameter '%s' that can be set; there are: %s"
                    .formatted(Lines.excerpt(argument.getKey()), ALL));
      }
    }
    if (arguments.isEmpty()) {
      throw new IllegalArgumentException("no parameter is given; there are: " + ALL);
    }
  }

  private static AutoConverge.Settings rule(
      AutoConverge.@Nullable Settings before, JsonNode arguments) {
    if (before == null) {
      throw new IllegalArgumentException(
          "%s can be set of a migration with --auto-converge only"
              .formatted(RULE.stream().filter(arguments::has).findFirst().orElse("")));
    }
    JsonNode tailslow = arguments.path(TAILSLOW);
    if (arguments.has(TAILSLOW) && !tailslow.isBoolean()) {
      throw new IllegalArgumentException(
          "%s is true or false, but it was %s"
              .formatted(TAILSLOW, Lines.excerpt(tailslow.toString())));
    }
    int initial = percent(arguments, INITIAL, before.initial(), 1, 99);
    return new AutoConverge.Settings(
        percent(arguments, TRIGGER, before.triggerThreshold(), 1, 100),
        initial,
        percent(arguments, INCREMENT, before.increment(), 1, 99),
        percent(arguments, MAX_THROTTLE, before.max(), initial, 99),
        tailslow.asBoolean(before.tailslow()));
  }

  /** What was not given is looked at too: it may be out of a range that has changed. */
  private static int percent(JsonNode arguments, String name, int before, int least, int most) {
    return (int)
        number(
            arguments.has(name)
                ? arguments
                : JsonNodeFactory.instance.objectNode().put(name, before),
            name,
            least,
            most);
  }

  private static long number(JsonNode arguments, String name, long least, long most) {
    JsonNode value = arguments.path(name);
    if (!value.isIntegralNumber()
        || !value.canConvertToLong()
        || value.asLong() < least
        || value.asLong() > most) {
      throw new IllegalArgumentException(
          "%s is a whole number from %d to %d, but it was %s"
              .formatted(name, least, most, Lines.excerpt(value.toString())));
    }
    return value.asLong();
  }

  private static @Nullable XbzrleSpec cache(@Nullable XbzrleSpec before, JsonNode arguments) {
    long bytes = number(arguments, CACHE_SIZE, 0, Long.MAX_VALUE);
    if (bytes == 0) {
      return null;
    }
    return (before == null ? XbzrleSpec.DEFAULT : before).withCacheBytes(bytes);
  }

  private static @Nullable CompressionSpec compression(
      @Nullable CompressionSpec before, JsonNode arguments) {
    boolean on =
        switch (arguments.path(COMPRESSION).asText(before == null ? "none" : "zstd")) {
          case "none" -> false;
          case "zstd" -> true;
          default ->
              throw new IllegalArgumentException(
                  "%s is none or zstd, but it was %s"
                      .formatted(
                          COMPRESSION, Lines.excerpt(arguments.path(COMPRESSION).toString())));
        };
    if (!on) {
      if (arguments.has(LEVEL) || arguments.has(THREADS)) {
        throw new IllegalArgumentException(
            "%s and %s have no meaning while %s is none: set it to zstd with them"
                .formatted(LEVEL, THREADS, COMPRESSION));
      }
      return null;
    }
    CompressionSpec from = before == null ? CompressionSpec.DEFAULT : before;
    int level =
        arguments.has(LEVEL)
            ? (int) number(arguments, LEVEL, Integer.MIN_VALUE, Integer.MAX_VALUE)
            : from.level();
    int workers =
        arguments.has(THREADS)
            ? (int) number(arguments, THREADS, 1, CompressionSpec.MAX_WORKERS)
            : from.workers();
    return new CompressionSpec(level, workers);
  }

  /**
   * Reads {@code NAME=VALUE} of a command line: sizes, rates and durations may have units there.
   *
   * @throws RuntimeException with a message for people, if it is nothing of the kind
   */
  static void put(Map<String, Object> arguments, String text) {
    int equals = text.indexOf('=');
    if (equals < 1) {
      throw new IllegalArgumentException(
          "'%s' is not NAME=VALUE, such as max-bandwidth=100m".formatted(text));
    }
    String name = text.substring(0, equals);
    String value = text.substring(equals + 1);
    switch (name) {
      case MAX_BANDWIDTH -> arguments.put(name, ByteRate.parse(value).bytesPerSecond());
      case CACHE_SIZE ->
          arguments.put(name, value.equals("off") ? 0L : ByteSize.parse(value).bytes());
      case DOWNTIME_LIMIT ->
          arguments.put(
              name, wholeNumber(value).orElseGet(() -> Durations.parse(value).toMillis()));
      case TAILSLOW -> arguments.put(name, flag(value));
      case LEVEL, THREADS, TRIGGER, INITIAL, INCREMENT, MAX_THROTTLE ->
          arguments.put(
              name,
              wholeNumber(value)
                  .orElseThrow(
                      () ->
                          new IllegalArgumentException(
                              "%s is a whole number, but it was '%s'".formatted(name, value))));
      default -> arguments.put(name, value); // whoever gets it knows what there is
    }
  }

  /** As QEMU's monitor reads one. */
  private static Object flag(String text) {
    return switch (text) {
      case "on", "true" -> true;
      case "off", "false" -> false;
      default -> text; // refused by whoever gets it
    };
  }

  private static Optional<Long> wholeNumber(String text) {
    return text.matches("-?[0-9]{1,18}") ? Optional.of(Long.parseLong(text)) : Optional.empty();
  }
}
