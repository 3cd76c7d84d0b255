/** Benches of whether migrations end, and of how well their downtime is known before. */
@NullMarked
package io.pageflux.examples.bench.convergence;

import org.jspecify.annotations.NullMarked;
