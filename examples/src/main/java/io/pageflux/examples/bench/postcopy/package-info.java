/** The bench of post-copy: how long a page takes that the guest waits for. */
@NullMarked
package io.pageflux.examples.bench.postcopy;

import org.jspecify.annotations.NullMarked;
