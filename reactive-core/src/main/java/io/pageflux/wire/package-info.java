/**
 * The native wire format: records, their bytes, and the limits that a reader keeps.
 *
 * <p>Pure: no Reactor, no sockets. The format is described byte by byte in {@code
 * reactive-core/WIRE-FORMAT.md}.
 */
@NullMarked
package io.pageflux.wire;

import org.jspecify.annotations.NullMarked;
