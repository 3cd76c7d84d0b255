/** The fault bench: migrations to which things happen, each checked for what may never follow. */
@NullMarked
package io.pageflux.examples.fault;

import org.jspecify.annotations.NullMarked;
