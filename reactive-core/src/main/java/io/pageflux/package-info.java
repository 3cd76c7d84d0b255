/** What every part of Pageflux shares: the exception that a migration fails with. */
@NullMarked
package io.pageflux;

import org.jspecify.annotations.NullMarked;
