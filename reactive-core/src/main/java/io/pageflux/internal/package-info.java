/** System calls, and nothing that a user sees. Not exported. */
@NullMarked
package io.pageflux.internal;

import org.jspecify.annotations.NullMarked;
