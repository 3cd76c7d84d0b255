package io.pageflux.qemu.postcopy;

import java.time.Duration;

/**
 * How far a lazily resumed guest is.
 *
 * @param status what happens
 * @param ramBytes the guest's RAM
 * @param pages how many pages that are
 * @param pagesLeft how many of them the destination has not been sent yet
 * @param requests how often pages were requested, besides those that had been sent already
 * @param vainRequests how often pages were requested that had been sent already
 * @param startBytes what was sent before the devices' state
 * @param deviceBytes the devices' state
 * @param requestedBytes pages that were requested, as they were sent
 * @param backgroundBytes the other pages, as they were sent
 * @param zeroPages how many pages were sent as zeros, those that had to be sent again included
 * @param wholePages how many pages were sent whole, those that had to be sent again included
 * @param recoveries how often the connection was lost and made again
 * @param serviceTimes from a request's having been read to its pages' having been written to the
 *     connection
 * @param toRunning from the connection to the word that the guest has its devices; zero before
 * @param duration since the connection was made for the first time
 */
public record PostcopyInfo(
    PostcopyStatus status,
    long ramBytes,
    long pages,
    long pagesLeft,
    long requests,
    long vainRequests,
    long startBytes,
    long deviceBytes,
    long requestedBytes,
    long backgroundBytes,
    long zeroPages,
    long wholePages,
    int recoveries,
    ServiceTimes serviceTimes,
    Duration toRunning,
    Duration duration) {

  /** {@return whether the destination has everything} */
  public boolean complete() {
    return status == PostcopyStatus.COMPLETED;
  }
}
