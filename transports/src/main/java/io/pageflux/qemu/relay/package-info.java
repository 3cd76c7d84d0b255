/**
 * Two relays that stand between two QEMUs.
 *
 * <pre>
 * QEMU ──► relay source ══ PAGES, STREAM ══► relay destination ──► QEMU
 *      ◄──              ◄══ STREAM, PROGRESS ══                 ◄──
 * </pre>
 *
 * <p>Neither QEMU knows of it: to each, its relay is the other QEMU. The source's relay takes the
 * pages out of QEMU's stream, makes deltas of those that it has sent before, compresses them, and
 * sends whatever is no page as it is, in its place; the destination's relay puts the stream
 * together again. Device state, its description and the return path pass through untouched.
 *
 * <p><b>Who decides:</b> QEMU does, everything: when to stop the guest, when the migration is
 * complete. Whatever goes wrong on the way, each relay closes the connection to its QEMU, and that
 * is to QEMU what the loss of the other QEMU would be: the source goes on with its guest. A source
 * that reads its return path and has not given its guest away is told of the failure first.
 *
 * <p><b>How fast the link is,</b> QEMU finds out from how fast its bytes are taken. So there must
 * be little between the two QEMUs: every byte that waits on the way is one that the source believes
 * to have arrived, and is downtime when the guest is stopped. The source's relay reads no more from
 * QEMU than the destination's QEMU takes, but for a {@linkplain io.pageflux.qemu.relay.RelayWindow
 * window} that is kept as small as the link allows.
 *
 * <p><b>Post-copy</b> passes through, from QEMU to QEMU: the requests for pages on the return path,
 * and the pages in the order in which the source's QEMU sends them. What bounds how soon a
 * requested page arrives is what lies before it on its way: the sockets' buffers on both sides, and
 * what is between them, all of which the window counts from the hand-over on: 64 KiB of pages, and
 * up to 256 KiB only where the way is so long, or so fast, that they hardly wait for one another.
 * No deltas are made from then on. If a relay or a connection is lost, both QEMUs are in the state
 * {@code postcopy-paused}; new relays carry what they say when they go on, unread and so not
 * compressed.
 *
 * <p><b>Switch on the capability {@code return-path}</b> in both QEMUs. Without it a source
 * believes that the migration is complete when its last byte was taken, be it by a relay; if a
 * relay dies then, both guests stand still until somebody continues the source's.
 *
 * <p><b>Start the destination's QEMU with {@code -S}</b> where two running guests would do harm,
 * and continue its guest when the source says that the migration is complete. Without that, QEMU
 * (7.2) lets the guest run just before it acknowledges the migration; if the acknowledgement is
 * lost with the connection, the source goes on with its own, too.
 */
@NullMarked
package io.pageflux.qemu.relay;

import org.jspecify.annotations.NullMarked;
