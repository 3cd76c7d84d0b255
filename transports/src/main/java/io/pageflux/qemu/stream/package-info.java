/**
 * QEMU's migration stream: read, written and looked into.
 *
 * <p>{@link io.pageflux.qemu.stream.QemuStreamReader} and {@link
 * io.pageflux.qemu.stream.QemuStreamWriter} know neither sockets nor Reactor; {@link
 * io.pageflux.qemu.stream.QemuStreams} makes operators of them.
 *
 * <p>What is read is the stream of a pre-copy migration, versions 2.4 to 10: header, configuration,
 * commands, the RAM section with all its records, and what devices say after it. A section of a
 * device has no length in the stream, so that nobody can read past it who does not know the device:
 * all that follows the end of RAM is passed on as it is.
 *
 * <p>Source: QEMU, {@code migration/savevm.c}, {@code migration/ram.c}, {@code
 * docs/devel/migration/main.rst}, and captured streams.
 */
@NullMarked
package io.pageflux.qemu.stream;

import org.jspecify.annotations.NullMarked;
