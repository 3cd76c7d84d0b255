/** Two real QEMUs, a shaped link between them, and relays or QEMU's own means on it. */
@NullMarked
package io.pageflux.examples.bench.qemu;

import org.jspecify.annotations.NullMarked;
