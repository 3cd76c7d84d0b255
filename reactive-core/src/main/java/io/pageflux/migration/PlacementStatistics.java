package io.pageflux.migration;

import java.util.List;

/**
 * What was put into the destination's memory by another way than the stream; see {@link PageSaver}.
 *
 * @param blocks how many blocks may be placed in
 * @param pages pages that were placed; they are among {@link RamStatistics#normal()}
 * @param bytes bytes that did not go by the stream; they are among {@link
 *     RamStatistics#transferred()}
 * @param refusals why blocks that were offered are not used
 */
public record PlacementStatistics(int blocks, long pages, long bytes, List<String> refusals) {

  /** Copies the list. */
  public PlacementStatistics {
    refusals = List.copyOf(refusals);
  }
}
