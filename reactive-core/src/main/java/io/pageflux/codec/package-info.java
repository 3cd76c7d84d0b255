/**
 * What happens to the bytes of pages: zero test, XBZRLE, zstd, and the way back into memory.
 *
 * <p>Nothing here knows of Reactor. Every class works on memory that its caller owns, blocks for
 * nothing but the processor, and starts no thread.
 */
@NullMarked
package io.pageflux.codec;

import org.jspecify.annotations.NullMarked;
