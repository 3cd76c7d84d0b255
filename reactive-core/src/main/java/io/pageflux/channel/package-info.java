/**
 * A connection as a conversation in records: what migrations and relays share. For Pageflux's own
 * modules; its types may change at any time.
 */
@NullMarked
package io.pageflux.channel;

import org.jspecify.annotations.NullMarked;
