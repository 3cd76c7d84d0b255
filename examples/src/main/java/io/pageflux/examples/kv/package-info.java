/**
 * The demonstration's guest: a key-value store outside the heap that is being written all the time,
 * and that can tell whether any page of it is damaged, lost, outdated or in the wrong place.
 */
@NullMarked
package io.pageflux.examples.kv;

import org.jspecify.annotations.NullMarked;
