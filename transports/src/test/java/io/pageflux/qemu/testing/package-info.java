/** What tests with a real QEMU need. */
@NullMarked
package io.pageflux.qemu.testing;

import org.jspecify.annotations.NullMarked;
