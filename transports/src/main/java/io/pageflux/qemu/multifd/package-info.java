/** QEMU's multifd: the pages of a migration over several channels beside the main one. */
@NullMarked
package io.pageflux.qemu.multifd;

import org.jspecify.annotations.NullMarked;
