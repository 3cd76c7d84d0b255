/** The bench of recovery: what a broken connection and a way back cost. */
@NullMarked
package io.pageflux.examples.bench.recovery;

import org.jspecify.annotations.NullMarked;
