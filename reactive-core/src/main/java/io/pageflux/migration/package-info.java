/**
 * Live migration: the two sides, what they are built from, and what they report.
 *
 * <p>{@link io.pageflux.migration.OutgoingMigration} and {@link
 * io.pageflux.migration.IncomingMigration} are cold: nothing happens before somebody subscribes,
 * and each subscription is a migration of its own.
 *
 * <h2>Who runs the guest</h2>
 *
 * <p>The source runs it until it pauses it for the last round. The destination starts it after it
 * has received {@code Commit}, and never before. Between the two:
 *
 * <ul>
 *   <li>Anything that fails before the source has begun to send {@code Commit}: the source resumes
 *       its guest; the destination never starts it.
 *   <li>The connection breaks after that and before {@code Running} came back: the source cannot
 *       know, keeps its guest paused and says so. The destination runs it if {@code Commit}
 *       arrived, and otherwise does not. Never both.
 *   <li>The destination reports a failure after {@code Commit}: it has not started the guest and
 *       will not; the source resumes its own.
 * </ul>
 */
@NullMarked
package io.pageflux.migration;

import org.jspecify.annotations.NullMarked;
