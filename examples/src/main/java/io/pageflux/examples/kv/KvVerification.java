package io.pageflux.examples.kv;

import java.util.List;

/**
 * What looking at every record of a store found.
 *
 * @param records records that were looked at
 * @param bytes bytes that were looked at, records or not
 * @param updates updates that all versions together tell of
 * @param damaged records whose checksum or contents are wrong
 * @param misplaced records that are sound but belong elsewhere
 * @param outdatedRegions regions whose records are not the recent ones
 * @param soiledChunks chunks of 64 KiB that should be zero and are not
 * @param findings the first of them, for people
 */
public record KvVerification(
    long records,
    long bytes,
    long updates,
    long damaged,
    long misplaced,
    long outdatedRegions,
    long soiledChunks,
    List<String> findings) {

  /** How many findings are told in words. */
  public static final int MAX_FINDINGS = 10;

  /** Copies the list. */
  public KvVerification {
    findings = List.copyOf(findings);
  }

  /** {@return whether nothing is wrong} */
  public boolean ok() {
    return damaged == 0 && misplaced == 0 && outdatedRegions == 0 && soiledChunks == 0;
  }
}
