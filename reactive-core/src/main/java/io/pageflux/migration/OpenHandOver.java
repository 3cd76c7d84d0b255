package io.pageflux.migration;

import io.pageflux.postcopy.OwedPages;

/**
 * What a source keeps of a post-copy whose connection is lost, for the next connection to go on
 * with: its guest was given up and stays paused, and pages that it lacks are only here.
 *
 * @param handOver who may run the guest: it was given up, and nothing is final yet
 * @param guest the guest as it was paused, to be let go on should the destination not have started
 *     it
 * @param owed what the destination lacked when it was last told of
 */
record OpenHandOver(HandOver handOver, SourceGuest guest, OwedPages owed) {}
