/**
 * Captures a guest: an unmodified QEMU migrates to here, and files are the result.
 *
 * <pre>
 * DIR/stream         QEMU's stream, byte for byte: -incoming "exec:cat DIR/stream" loads it
 * DIR/NAME.ram       a RAM block of the stopped guest, in its length
 * DIR/capture.json   what it is
 * </pre>
 *
 * <p>Until the stream is complete, each file is called {@code *.partial}. All of them are synced to
 * the disk before they get their names, and {@code capture.json} gets its own last: where it is,
 * the capture is complete.
 *
 * <p><b>Whose guest it is:</b> with QEMU's capability {@code return-path} switched on, QEMU waits
 * for the word that the capture is complete, and goes on with its guest if it does not come.
 * Without, QEMU believes that the migration is complete when its last byte was taken; the guest
 * stands still then, and somebody may continue it at the source, whatever has become of the
 * capture.
 *
 * <p><b>The stream's end.</b> Nothing says how long the devices' state is. It is complete when the
 * {@linkplain io.pageflux.qemu.capture.TailEnd description} that QEMU sends behind it is, or when
 * QEMU closes the connection. A machine with {@code suppress-vmdesc=on} sends no description:
 * {@link io.pageflux.qemu.capture.CaptureSpec#withDescription switch} the demand for it off, and
 * the capability {@code return-path}, with which QEMU would not close the connection.
 */
@NullMarked
package io.pageflux.qemu.capture;

import org.jspecify.annotations.NullMarked;
