/**
 * The benchmarks: each prints a ratio against a rival that is measured in the same run, alternating
 * with it, because absolute figures say more about the machine than about the code.
 */
@NullMarked
package io.pageflux.examples.bench;

import org.jspecify.annotations.NullMarked;
