/**
 * The operators that page batches flow through, as static factories for {@code transform} and
 * {@code transformDeferred}.
 *
 * <p>Thin: what they do to a batch is in {@link io.pageflux.codec}. All but the ordered parallel
 * map are compositions of Reactor's own operators. That one is written by hand because both ways to
 * compose it ({@code flatMapSequential} and {@code parallel}) forget elements when they are
 * cancelled, and each of ours holds a slab.
 *
 * <p><b>Ownership:</b> an operator owns the batch that it receives and passes it on or releases it.
 * On cancel and error every batch that an operator holds is released and discarded (Reactor's
 * discard hook); releasing twice does nothing, so a pipeline may have both.
 */
@NullMarked
package io.pageflux.operator;

import org.jspecify.annotations.NullMarked;
