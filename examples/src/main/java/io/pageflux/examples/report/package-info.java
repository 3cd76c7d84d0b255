/** How migrations are shown: progress, tables, and JSON in the shape of QEMU's query-migrate. */
@NullMarked
package io.pageflux.examples.report;

import org.jspecify.annotations.NullMarked;
