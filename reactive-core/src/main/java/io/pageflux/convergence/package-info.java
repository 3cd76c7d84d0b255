/**
 * When a migration ends: what is measured of it, and who decides from that what to do.
 *
 * <p>All of it is pure: no threads, no clocks, no Reactor. A {@link
 * io.pageflux.convergence.ConvergenceMeter} is told of counters and of the time, and gives {@link
 * io.pageflux.convergence.ConvergenceFigures}; a {@link io.pageflux.convergence.ConvergencePolicy}
 * makes a {@link io.pageflux.convergence.ConvergenceDecision} of them; a {@link
 * io.pageflux.convergence.ConvergenceControl} asks it, keeps what it has decided, and contains its
 * failures. The migration itself, a simulation and a prediction use the same three.
 *
 * <h2>When the policy is asked</h2>
 *
 * <p>At the end of each round, and each second within a long one. A throttle, another limit of the
 * downtime and an abort take effect at once, and so does post-copy; a switch-over only at the end
 * of a round, for until then the destination lacks pages that nobody has written since.
 *
 * <h2>What is there</h2>
 *
 * <ul>
 *   <li>{@link io.pageflux.convergence.IntentPolicy}: the default; one setting, the {@link
 *       io.pageflux.convergence.Intent}.
 *   <li>{@link io.pageflux.convergence.LimitPolicy}: a fixed limit of the downtime.
 *   <li>{@link io.pageflux.convergence.RampedDowntime}: a limit that is raised step by step.
 *   <li>{@link io.pageflux.convergence.AutoConverge}: the guest is throttled, by QEMU's rule.
 *   <li>{@link io.pageflux.convergence.PostcopyPolicy}: another one, and post-copy when that is not
 *       worth going on with.
 * </ul>
 */
@NullMarked
package io.pageflux.convergence;

import org.jspecify.annotations.NullMarked;
