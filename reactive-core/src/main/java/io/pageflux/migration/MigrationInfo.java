package io.pageflux.migration;

import io.pageflux.codec.XbzrleCounters;
import io.pageflux.convergence.ConvergenceStep;
import io.pageflux.postcopy.PostcopyStatistics;
import java.time.Duration;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A migration at one moment, in the shape of QEMU's {@code query-migrate}.
 *
 * @param status where it is
 * @param totalTime since it began
 * @param setupTime until the first round began
 * @param downtime how long the guest did not run, from before its pause until the destination said
 *     that it runs; zero until then
 * @param expectedDowntime what the downtime would have been, had the guest been paused now; at the
 *     end, what was expected when it was; null while nothing is known of it, and at the destination
 * @param downtimeLimit what the downtime may be; zero at the destination
 * @param cpuThrottlePercentage what part of its time is taken from the guest
 * @param ram the memory
 * @param convergence what its policy goes by; null before it was asked first, and at the
 *     destination
 * @param xbzrleCache the delta cache; null without XBZRLE
 * @param compression compression; null without it
 * @param placement what did not go by the stream; null if nothing was to
 * @param postcopy post-copy; null as long as it was not switched to
 * @param tracker what tells of writes
 * @param rounds the rounds that have been acknowledged
 * @param steps what was done so that it ends; the first thousand
 * @param errorDesc why it failed; null if it has not
 */
public record MigrationInfo(
    MigrationStatus status,
    Duration totalTime,
    Duration setupTime,
    Duration downtime,
    @Nullable Duration expectedDowntime,
    Duration downtimeLimit,
    int cpuThrottlePercentage,
    RamStatistics ram,
    @Nullable ConvergenceStatistics convergence,
    @Nullable XbzrleCounters xbzrleCache,
    @Nullable CompressionStatistics compression,
    @Nullable PlacementStatistics placement,
    @Nullable PostcopyStatistics postcopy,
    String tracker,
    List<RoundReport> rounds,
    List<ConvergenceStep> steps,
    @Nullable String errorDesc) {

  /** Copies the lists. */
  public MigrationInfo {
    rounds = List.copyOf(rounds);
    steps = List.copyOf(steps);
  }
}
