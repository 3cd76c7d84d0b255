package io.pageflux.transport;

/**
 * What holds for every transport. A transport's test implements this interface, gives an open
 * acceptor and a connector to it, and disposes of them after each test.
 */
public interface TransportContract extends TransportDataContract, TransportLifecycleContract {}
