/** Which pages have been written: the trackers, and how the one that fits is found. */
@NullMarked
package io.pageflux.dirty;

import org.jspecify.annotations.NullMarked;
