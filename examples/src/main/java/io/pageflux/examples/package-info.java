/** The command line of Pageflux: see {@link io.pageflux.examples.Main}. */
@NullMarked
package io.pageflux.examples;

import org.jspecify.annotations.NullMarked;
