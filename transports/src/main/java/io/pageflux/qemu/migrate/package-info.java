/**
 * Moves a guest from one QEMU to another: its memory, which is in files, by a migration of our own,
 * its devices by QEMU's.
 */
@NullMarked
package io.pageflux.qemu.migrate;

import org.jspecify.annotations.NullMarked;
