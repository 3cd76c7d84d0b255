/** The commands that have to do with QEMU. */
@NullMarked
package io.pageflux.examples.qemu;

import org.jspecify.annotations.NullMarked;
