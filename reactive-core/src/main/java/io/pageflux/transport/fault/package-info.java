/**
 * A transport on which things go wrong, out of any transport's connectors, acceptors and
 * connections: for tests of whatever sends over one, in virtual time and over real sockets.
 *
 * <p>A {@link io.pageflux.transport.fault.Fault} is what happens to one direction of a connection,
 * at a {@link io.pageflux.transport.fault.Place} in its bytes, and a {@link
 * io.pageflux.transport.fault.FaultPlan} what happens to one connection; {@link
 * io.pageflux.transport.fault.FaultyTransport} makes it happen. Nothing is decided by chance here:
 * {@link io.pageflux.transport.fault.FaultPlan#random} draws a plan from a generator of the
 * caller's, so the same seed makes the same plan.
 */
@NullMarked
package io.pageflux.transport.fault;

import org.jspecify.annotations.NullMarked;
