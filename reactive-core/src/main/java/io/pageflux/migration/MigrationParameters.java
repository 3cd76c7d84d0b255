package io.pageflux.migration;

import io.pageflux.codec.XbzrleSpec;
import io.pageflux.convergence.AutoConverge;
import java.time.Duration;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * What may be changed of a migration while it runs. Immutable: each {@code with} method returns a
 * changed copy.
 *
 * @param maxBandwidth bytes per second on the wire at the most, 0 for no limit; QEMU's {@code
 *     max-bandwidth}
 * @param downtimeLimit QEMU's {@code downtime-limit}
 * @param compression how contents are compressed; null for not at all
 * @param xbzrle the delta cache; null to send no deltas
 * @param autoConverge the constants of QEMU's rule; null unless the policy was made by {@link
 *     AutoConverge#by}
 */
public record MigrationParameters(
    long maxBandwidth,
    Duration downtimeLimit,
    @Nullable CompressionSpec compression,
    @Nullable XbzrleSpec xbzrle,
    AutoConverge.@Nullable Settings autoConverge) {

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if one is out of range
   */
  public MigrationParameters {
    Objects.requireNonNull(downtimeLimit, "downtimeLimit");
    if (maxBandwidth < 0) {
      throw new IllegalArgumentException("maxBandwidth >= 0 required but it was " + maxBandwidth);
    }
    if (downtimeLimit.isNegative()) {
      throw new IllegalArgumentException("downtimeLimit >= 0 required but it was " + downtimeLimit);
    }
  }

  /** {@return what a migration begins with} */
  public static MigrationParameters of(OutgoingSpec spec) {
    return new MigrationParameters(
        spec.maxBandwidth(),
        spec.limits().downtimeLimit(),
        spec.compression(),
        spec.xbzrle(),
        spec.policy() instanceof AutoConverge.ByRule(AutoConverge.Settings settings)
            ? settings
            : null);
  }

  /** {@return these with another limit in bytes per second; 0 for none} */
  public MigrationParameters withMaxBandwidth(long maxBandwidth) {
    return new MigrationParameters(maxBandwidth, downtimeLimit, compression, xbzrle, autoConverge);
  }

  /** {@return these with another limit of the downtime} */
  public MigrationParameters withDowntimeLimit(Duration downtimeLimit) {
    return new MigrationParameters(maxBandwidth, downtimeLimit, compression, xbzrle, autoConverge);
  }

  /** {@return these with another compression; null for none} */
  public MigrationParameters withCompression(@Nullable CompressionSpec compression) {
    return new MigrationParameters(maxBandwidth, downtimeLimit, compression, xbzrle, autoConverge);
  }

  /** {@return these with another delta cache; null for none} */
  public MigrationParameters withXbzrle(@Nullable XbzrleSpec xbzrle) {
    return new MigrationParameters(maxBandwidth, downtimeLimit, compression, xbzrle, autoConverge);
  }

  /** {@return these with other constants of QEMU's rule} */
  public MigrationParameters withAutoConverge(AutoConverge.@Nullable Settings autoConverge) {
    return new MigrationParameters(maxBandwidth, downtimeLimit, compression, xbzrle, autoConverge);
  }
}
