/**
 * Whether, when and at what cost a migration would converge, without one.
 *
 * <p>{@link io.pageflux.prediction.MigrationObservation} watches a running guest and makes a {@link
 * io.pageflux.prediction.GuestProfile}; {@link io.pageflux.prediction.Forecaster}, which is pure,
 * plays migrations of that guest over a link in virtual time, with the same meter, control and
 * policy that decide of a real one.
 */
@NullMarked
package io.pageflux.prediction;

import org.jspecify.annotations.NullMarked;
