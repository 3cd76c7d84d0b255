/** Control of a running command over a local socket, in the manner of QMP. */
@NullMarked
package io.pageflux.examples.control;

import org.jspecify.annotations.NullMarked;
