/**
 * A client of QEMU's machine protocol, QMP: a JSON object per line over a Unix domain socket or
 * TCP. One side greets, the other negotiates, and then commands are answered by their ids while
 * events come between the answers.
 */
@NullMarked
package io.pageflux.qemu.qmp;

import org.jspecify.annotations.NullMarked;
