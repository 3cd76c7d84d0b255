/**
 * What a transport implements, and the transport inside one JVM.
 *
 * <p>A transport moves bytes, in order, both ways, with backpressure. It knows nothing of pages or
 * of the protocol.
 */
@NullMarked
package io.pageflux.transport;

import org.jspecify.annotations.NullMarked;
