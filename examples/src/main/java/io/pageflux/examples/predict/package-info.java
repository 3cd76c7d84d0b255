/** {@code pageflux predict} and {@code pageflux predict-bench}. */
@NullMarked
package io.pageflux.examples.predict;

import org.jspecify.annotations.NullMarked;
