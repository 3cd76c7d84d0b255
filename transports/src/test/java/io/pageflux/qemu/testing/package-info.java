/** Real QEMU processes and guests for tests. */
@NullMarked
package io.pageflux.qemu.testing;

import org.jspecify.annotations.NullMarked;
