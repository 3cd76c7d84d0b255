package io.pageflux.examples.kv;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/**
 * Looks at every byte of a store that nobody writes.
 *
 * <p>A record is sound if its checksum fits and its contents are those that follow from its key and
 * its versions. That does not tell an outdated record from a recent one; the digests do, region by
 * region.
 */
final class KvVerifier {

  private final MemorySegment memory;
  private final KvLayout layout;
  private final long[] expectedDigests;
  private final List<String> findings = new ArrayList<>();
  private long updates;
  private long damaged;
  private long misplaced;
  private long outdated;
  private long soiled;

  private KvVerifier(MemorySegment memory, KvLayout layout, long[] expectedDigests) {
    this.memory = memory;
    this.layout = layout;
    this.expectedDigests = expectedDigests;
  }

  static KvVerification verify(MemorySegment memory, KvLayout layout, long[] expectedDigests) {
    KvVerifier verifier = new KvVerifier(memory, layout, expectedDigests);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment scratch = arena.allocate(KvLayout.CHUNK_BYTES);
      verifier.verifyFreeChunks(scratch);
      for (int region = 0; region < KvLayout.REGIONS; region++) {
        verifier.verifyRegion(region, scratch);
      }
    }
    return new KvVerification(
        layout.recordCount(),
        layout.sizeBytes(),
        verifier.updates,
        verifier.damaged,
        verifier.misplaced,
        verifier.outdated,
        verifier.soiled,
        verifier.findings);
  }

  private void verifyFreeChunks(MemorySegment zeros) {
    for (long chunk = 0; chunk < layout.chunkCount(); chunk++) {
      if (KvLayout.isUsed(chunk)) {
        continue;
      }
      MemorySegment free = memory.asSlice(chunk * KvLayout.CHUNK_BYTES, KvLayout.CHUNK_BYTES);
      long different = free.mismatch(zeros);
      if (different >= 0) {
        soiled++;
        find("byte %d was never written but is not zero", chunk * KvLayout.CHUNK_BYTES + different);
      }
    }
  }

  private void verifyRegion(int region, MemorySegment scratch) {
    long first = layout.firstOfRegion(region);
    long end = layout.firstOfRegion(region + 1);
    long digest = 0;
    boolean sound = true;
    for (long record = first; record < end; record++) {
      long at = layout.offsetOf(record);
      sound &= verifyRecord(record, at, scratch);
      digest += KvRecord.digest(memory, at);
    }
    if (sound && digest != expectedDigests[region]) {
      outdated++;
      find(
          "records %d to %d are sound, but one or more of them are not the recent ones",
          first, end - 1);
    }
  }

  private boolean verifyRecord(long record, long at, MemorySegment scratch) {
    long key = KvRecord.key(memory, at);
    long version = KvRecord.version(memory, at);
    KvRecord.write(scratch, 0, key, version, KvRecord.rewritten(memory, at));
    long different =
        MemorySegment.mismatch(scratch, 0, KvRecord.BYTES, memory, at, at + KvRecord.BYTES);
    if (different >= 0 || KvRecord.checksum(memory, at) != KvRecord.computeChecksum(memory, at)) {
      damaged++;
      find("record %d, at byte %d, is damaged", record, at);
      return false;
    }
    if (key != record) {
      misplaced++;
      find("record %d lies at byte %d, where record %d belongs", key, at, record);
      return false;
    }
    updates += version - 1;
    return true;
  }

  private void find(String format, Object... args) {
    if (findings.size() < KvVerification.MAX_FINDINGS) {
      findings.add(format.formatted(args));
    }
  }
}
