/**
 * QEMU's migration stream, read and written.
 *
 * <p>{@link io.pageflux.qemu.stream.QemuStreamReader} takes a pre-copy stream apart into {@link
 * io.pageflux.qemu.stream.QemuElement elements}: the framing, verbatim, and batches of pages.
 * {@link io.pageflux.qemu.stream.QemuStreamWriter} makes a stream of them again, for another QEMU.
 * Both are pure functions over bytes; {@link io.pageflux.qemu.stream.QemuStreams} makes reactive
 * operators of them, and {@link io.pageflux.qemu.stream.QemuInspection} says what a captured stream
 * holds.
 *
 * <p>What was tried against QEMU 7.2 is read and written: raw pages, zero pages, XBZRLE and the
 * older zlib pages, with any set of RAM blocks. Streams of newer versions are read as far as they
 * have the same form. Post-copy, mapped-ram, RDMA and iterable devices other than RAM are refused
 * by name, since nobody can skip what does not say how long it is.
 */
@org.jspecify.annotations.NullMarked
package io.pageflux.qemu.stream;
