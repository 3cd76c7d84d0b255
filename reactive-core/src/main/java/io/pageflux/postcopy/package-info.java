/**
 * Post-copy: the guest runs at the destination before all of its pages are there.
 *
 * <p>At the switch the source pauses its guest for good and tells the destination which pages it
 * lacks: those that were never sent, and those that were written since. The destination {@linkplain
 * io.pageflux.postcopy.PresenceMap notes them as absent} and starts the guest. From then on the
 * source pushes pages in the background, and sends first whatever the guest {@linkplain
 * io.pageflux.postcopy.PostcopyMemory waits for}.
 *
 * <h2>How the guest gets at its memory</h2>
 *
 * <p>By {@link io.pageflux.postcopy.PostcopyMemory}, as a {@code Mono} or with a plain thread that
 * waits. Not by faulting: a thread of a JVM that stands in a page fault cannot reach a safepoint,
 * and if the page is brought by the same JVM, both wait for ever.
 *
 * <h2>What holds</h2>
 *
 * <ul>
 *   <li>A page is read only when it is there: the source's bytes, all of them, or what the guest
 *       has written itself.
 *   <li>A page that is there stays there.
 *   <li>A page that arrives never overwrites one that the guest has written: it can only take the
 *       place of an absent one, and a guest writes to no absent page but as a whole, by which the
 *       page is there.
 *   <li>Each page travels once by a connection: it is pushed or sent on demand, whichever comes
 *       first; a demand for a page that is on its way is not served again, nor is one page asked
 *       for twice. A source that comes back after its connection was lost sends what is missing
 *       then.
 *   <li>If the source is lost, what is there can be used; who waits for other pages gets an error
 *       or goes on waiting, as {@link io.pageflux.postcopy.PostcopySpec#onSourceLost()} says.
 *       Nobody gets wrong data.
 * </ul>
 */
@NullMarked
package io.pageflux.postcopy;

import org.jspecify.annotations.NullMarked;
