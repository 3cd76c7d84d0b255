/** Guest memory outside the heap: named RAM blocks, and sets of their pages. */
@NullMarked
package io.pageflux.memory;

import org.jspecify.annotations.NullMarked;
