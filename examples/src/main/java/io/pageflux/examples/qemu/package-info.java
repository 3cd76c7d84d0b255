/** The commands for QEMU. */
@NullMarked
package io.pageflux.examples.qemu;

import org.jspecify.annotations.NullMarked;
