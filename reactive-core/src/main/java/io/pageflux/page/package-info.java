/** Batches of pages on their way through a pipeline, and the slabs that hold their bytes. */
@NullMarked
package io.pageflux.page;

import org.jspecify.annotations.NullMarked;
