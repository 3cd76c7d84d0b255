/** The commands send and receive, which move a memory image in a file. */
@NullMarked
package io.pageflux.examples.image;

import org.jspecify.annotations.NullMarked;
