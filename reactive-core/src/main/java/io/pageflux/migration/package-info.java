/**
 * Live migration: the two sides, what they are built from, and what they report.
 *
 * <p>{@link io.pageflux.migration.OutgoingMigration} and {@link
 * io.pageflux.migration.IncomingMigration} are cold: nothing happens before somebody subscribes,
 * and each subscription is a migration of its own.
 *
 * <h2>What happens when</h2>
 *
 * <table>
 *   <caption>The turns of a migration, with what QEMU calls them</caption>
 *   <tr><th>QEMU</th><th>source</th><th>destination</th></tr>
 *   <tr><td>{@code save_setup}, {@code load_setup}</td>
 *       <td>all of tracker, slabs, delta cache and threads, or nothing; HELLO, LAYOUT</td>
 *       <td>slabs, when the layout is agreed; an offer of shared memory; READY</td></tr>
 *   <tr><td>{@code before_ram_iterate}, {@code after_ram_iterate}</td>
 *       <td colspan="2">{@link io.pageflux.migration.MigrationHooks}</td></tr>
 *   <tr><td>{@code save_live_iterate}</td>
 *       <td>a round, read and collected in slices of at most about 50 ms</td>
 *       <td>applied batch by batch, acknowledged as a round</td></tr>
 *   <tr><td>{@code state_pending_estimate}, {@code state_pending_exact}</td>
 *       <td>{@link io.pageflux.migration.OutgoingMigration#pendingEstimate()}, {@link
 *       io.pageflux.migration.OutgoingMigration#pendingExact()}</td><td></td></tr>
 *   <tr><td>{@code save_page}</td><td>{@link io.pageflux.migration.PageSaver}</td><td></td></tr>
 *   <tr><td>{@code pre-switchover}</td>
 *       <td>the guest is paused; {@link
 *       io.pageflux.migration.OutgoingMigration#continueMigration()}</td><td></td></tr>
 *   <tr><td>{@code save_live_complete_precopy}</td>
 *       <td>last round, device state, END; COMMIT when PREPARED has come</td>
 *       <td>takes the device state, says PREPARED; starts the guest after COMMIT</td></tr>
 *   <tr><td>{@code save_cleanup}, {@code load_cleanup}</td>
 *       <td colspan="2">guest, peer, saver, tracker, slabs and threads, in this order, however it
 *       ends; at the source then {@code release-ram}</td></tr>
 * </table>
 *
 * <p>QEMU's {@code release-ram} gives pages back as they are sent, and so acts in post-copy only,
 * where the source cannot go on anyway. Here the source can until the destination says that the
 * guest runs, and memory is given back only then, all of it.
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
 *
 * <p>A migration that {@linkplain io.pageflux.migration.OutgoingSpec#withResume goes on with
 * another connection} begins this anew with each: the source has resumed its guest before it
 * connects again, and the destination has ruled out that what the old connection has said starts
 * the guest. In the second of these cases nothing is resumed, except in post-copy: there the
 * hand-over stays open, and by the next connection the source hears how it went, which the
 * destination says only when it has started the guest or has ruled that out.
 *
 * <p>HAND-OVER.md has all of it for people, failure by failure.
 */
@NullMarked
package io.pageflux.migration;

import org.jspecify.annotations.NullMarked;
