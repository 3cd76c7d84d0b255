/** The demonstration: a running key-value store moves from one process to another. */
@NullMarked
package io.pageflux.examples.demo;

import org.jspecify.annotations.NullMarked;
