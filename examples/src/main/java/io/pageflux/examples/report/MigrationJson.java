package io.pageflux.examples.report;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.pageflux.MigrationException;
import io.pageflux.codec.XbzrleCounters;
import io.pageflux.convergence.ConvergenceStep;
import io.pageflux.examples.cli.Failures;
import io.pageflux.migration.CompressionStatistics;
import io.pageflux.migration.ConvergenceStatistics;
import io.pageflux.migration.MigrationInfo;
import io.pageflux.migration.MigrationStatus;
import io.pageflux.migration.PlacementStatistics;
import io.pageflux.migration.RamStatistics;
import io.pageflux.migration.RoundReport;
import io.pageflux.postcopy.PostcopyStatistics;
import java.time.Duration;
import org.jspecify.annotations.Nullable;

/**
 * A migration as JSON, with the shape, names and units of the answer to QEMU's {@code
 * query-migrate}: times in milliseconds, sizes in bytes, {@code mbps} in 10^6 bits per second.
 * {@code convergence}, {@code placement}, {@code postcopy}, {@code tracker}, {@code rounds} and
 * {@code steps} are Pageflux's own, as are some members of {@code compression}; {@code
 * downtime-limit} is QEMU's parameter of that name as it is now. {@code cpu-throttle-percentage} is
 * there while the guest is throttled, {@code expected-downtime} as soon as something is known of
 * it.
 */
public final class MigrationJson {

  private MigrationJson() {}

  /** {@return a migration as it is} */
  public static ObjectNode of(MigrationInfo info) {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("status", info.status().qemuName());
    json.put("total-time", info.totalTime().toMillis());
    json.put("setup-time", info.setupTime().toMillis());
    json.put("downtime", info.downtime().toMillis());
    Duration expected = info.expectedDowntime();
    if (expected != null) {
      json.put("expected-downtime", expected.toMillis());
    }
    if (info.cpuThrottlePercentage() > 0) {
      json.put("cpu-throttle-percentage", info.cpuThrottlePercentage());
    }
    if (info.downtimeLimit().isPositive()) {
      json.put("downtime-limit", info.downtimeLimit().toMillis());
    }
    ram(json.putObject("ram"), info.ram());
    ConvergenceStatistics convergence = info.convergence();
    if (convergence != null) {
      convergence(json.putObject("convergence"), convergence);
    }
    XbzrleCounters xbzrle = info.xbzrleCache();
    if (xbzrle != null) {
      xbzrle(json.putObject("xbzrle-cache"), xbzrle);
    }
    CompressionStatistics compression = info.compression();
    if (compression != null) {
      compression(json.putObject("compression"), compression);
    }
    PlacementStatistics placement = info.placement();
    if (placement != null) {
      placement(json.putObject("placement"), placement);
    }
    PostcopyStatistics postcopy = info.postcopy();
    if (postcopy != null) {
      postcopy((ObjectNode) json.path("ram"), json.putObject("postcopy"), postcopy);
    }
    json.put("tracker", info.tracker());
    var rounds = json.putArray("rounds");
    info.rounds().forEach(round -> round(rounds.addObject(), round));
    if (!info.steps().isEmpty()) {
      var steps = json.putArray("steps");
      info.steps().forEach(step -> step(steps.addObject(), step));
    }
    if (info.errorDesc() != null) {
      json.put("error-desc", info.errorDesc());
    }
    return json;
  }

  /**
   * {@return a migration that failed or was cancelled}
   *
   * @param last how it was when something was heard of it last; null if nothing was
   * @param message why, for people
   */
  public static ObjectNode failed(@Nullable MigrationInfo last, Throwable failure, String message) {
    ObjectNode json = last == null ? JsonNodeFactory.instance.objectNode() : of(last);
    boolean cancelled =
        Failures.unwrap(failure) instanceof MigrationException e
            && e.kind() == MigrationException.Kind.CANCELLED
            && !e.isFromPeer();
    MigrationStatus status =
        last != null && isInPostcopy(last.status())
            ? MigrationStatus.POSTCOPY_PAUSED
            : cancelled ? MigrationStatus.CANCELLED : MigrationStatus.FAILED;
    json.put("status", status.qemuName());
    json.put("error-desc", message);
    return json;
  }

  private static boolean isInPostcopy(MigrationStatus status) {
    return switch (status) {
      case POSTCOPY_ACTIVE, POSTCOPY_PAUSED, POSTCOPY_RECOVER -> true;
      default -> false;
    };
  }

  private static void ram(ObjectNode json, RamStatistics ram) {
    json.put("transferred", ram.transferred());
    json.put("remaining", ram.remaining());
    json.put("total", ram.total());
    json.put("duplicate", ram.duplicate());
    json.put("normal", ram.normal());
    json.put("normal-bytes", ram.normalBytes());
    json.put("dirty-pages-rate", ram.dirtyPagesRate());
    json.put("mbps", ram.mbps());
    json.put("dirty-sync-count", ram.dirtySyncCount());
    json.put("page-size", ram.pageSize());
    json.put("pages-per-second", ram.pagesPerSecond());
  }

  private static void convergence(ObjectNode json, ConvergenceStatistics convergence) {
    json.put("remaining-wire", convergence.remainingBytes());
    json.put("goodput-mbps", convergence.bytesPerSecond() * 8 / 1e6);
    json.put("downtime-fixed", millis(convergence.fixedDowntime()));
    json.put("stalled-rounds", convergence.stalledRounds());
  }

  private static void xbzrle(ObjectNode json, XbzrleCounters xbzrle) {
    json.put("cache-size", xbzrle.cacheSizeBytes());
    json.put("bytes", xbzrle.bytes());
    json.put("pages", xbzrle.pages());
    json.put("cache-miss", xbzrle.cacheMiss());
    json.put("cache-miss-rate", xbzrle.cacheMissRate());
    json.put("encoding-rate", xbzrle.encodingRate());
    json.put("overflow", xbzrle.overflow());
  }

  private static void compression(ObjectNode json, CompressionStatistics compression) {
    json.put("batches", compression.batches());
    json.put("raw-batches", compression.rawBatches());
    json.put("bytes", compression.bytes());
    json.put("compressed-size", compression.compressedBytes());
    json.put("compression-rate", compression.compressionRate());
  }

  private static void placement(ObjectNode json, PlacementStatistics placement) {
    json.put("blocks", placement.blocks());
    json.put("pages", placement.pages());
    json.put("bytes", placement.bytes());
    var refusals = json.putArray("refusals");
    placement.refusals().forEach(refusals::add);
  }

  private static void postcopy(ObjectNode ram, ObjectNode json, PostcopyStatistics postcopy) {
    ram.put("postcopy-requests", postcopy.requests());
    ram.put("precopy-bytes", postcopy.precopyBytes());
    ram.put("downtime-bytes", postcopy.downtimeBytes());
    ram.put("postcopy-bytes", postcopy.postcopyBytes());
    json.put("switch-after", millis(postcopy.switchAfter()));
    json.put("absent-pages", postcopy.absentPages());
    json.put("requested-pages", postcopy.demandedPages());
    json.put("pushed-pages", postcopy.pushedPages());
    json.put("owned-pages", postcopy.ownedPages());
    if (postcopy.latency().count() > 0) {
      json.put("latency-count", postcopy.latency().count());
      json.put("latency-median", millis(postcopy.latency().median()));
      json.put("latency-p99", millis(postcopy.latency().p99()));
      json.put("latency-max", millis(postcopy.latency().max()));
    }
  }

  private static void round(ObjectNode json, RoundReport round) {
    json.put("round", round.round());
    json.put("last", round.last());
    json.put("dirty", round.dirtyPages());
    json.put("duplicate", round.zeroPages());
    json.put("normal", round.rawPages());
    json.put("delta", round.deltaPages());
    json.put("unchanged", round.unchangedPages());
    json.put("bytes", round.bytes());
    json.put("time", millis(round.duration()));
  }

  private static void step(ObjectNode json, ConvergenceStep step) {
    json.put("time", millis(step.at()));
    json.put("step", step.kind().text());
    json.put("what", step.what());
    json.put("why", step.why());
  }

  private static double millis(Duration duration) {
    return duration.toNanos() / 1000 / 1e3;
  }
}
