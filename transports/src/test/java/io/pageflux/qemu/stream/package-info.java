/** Tests of QEMU's stream. */
@org.jspecify.annotations.NullMarked
package io.pageflux.qemu.stream;
