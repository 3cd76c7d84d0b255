/**
 * A captured guest runs at once, in a QEMU that fetches its memory while it runs: post-copy, with
 * the files of a {@linkplain io.pageflux.qemu.capture capture} as the source.
 *
 * <pre>
 * DIR ──► pageflux ── devices' state, then pages ──► QEMU -incoming, postcopy-ram on
 *                  ◄── requests for pages ─────────
 * </pre>
 *
 * <p>The destination is an unmodified QEMU, started as for the capture's machine, with {@code
 * -incoming} and the capability {@code postcopy-ram}. It is told that none of its memory is valid,
 * gets the devices' state, and runs. A page that the guest touches and that is not there is
 * requested, and overtakes the pages that are sent in the background, which go on from there.
 *
 * <p><b>Nothing is lost:</b> the files are only read. When the connection breaks, the guest stands
 * still in QEMU's state {@code postcopy-paused} and keeps what it has; after QMP {@code
 * migrate-recover} there, this asks what has arrived and sends the rest. That may be done by
 * another process than the first one, as often as it takes. But the guest has gone on by then: the
 * capture must not be started a second time.
 */
@NullMarked
package io.pageflux.qemu.postcopy;

import org.jspecify.annotations.NullMarked;
