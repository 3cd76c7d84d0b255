package io.pageflux.examples.kv;

import java.lang.foreign.MemorySegment;
import java.util.concurrent.locks.LockSupport;

/**
 * One thread's part of the load on a store: updates records of a range of pages that is its own.
 *
 * <p>Nine updates of ten go to a tenth of the pages, those being spread over the range. One update
 * of eight rewrites the record; the others change a few bytes. Each one checks the record that it
 * finds first, as a guest would that relies on its memory.
 *
 * <p>One thread at a time runs it or looks at it.
 */
final class KvUpdater implements Runnable {

  private static final int HOT_OF_HUNDRED = 90;
  private static final int PAGES_PER_HOT_PAGE = 10;
  private static final int UPDATES_PER_REWRITE = 8;
  private static final long IDLE_NANOS = 10_000_000;

  private final MemorySegment memory;
  private final KvAccess access;
  private final KvLayout layout;
  private final long firstPage;
  private final long pages;
  private final double bytesPerSecond;
  private final Mix random;
  private final long[] digestChanges = new long[KvLayout.REGIONS];
  private volatile long updates;
  private volatile boolean stopped;
  private volatile int throttlePercent;

  /**
   * @param firstPage the first of its record pages
   * @param pages how many there are
   * @param bytesPerSecond see {@link KvLoad}; this thread's share
   * @param randomState where its random numbers go on from
   * @param updates how many updates it has made before
   */
  KvUpdater(
      MemorySegment memory,
      KvAccess access,
      KvLayout layout,
      long firstPage,
      long pages,
      double bytesPerSecond,
      long randomState,
      long updates) {
    this.memory = memory;
    this.access = access;
    this.layout = layout;
    this.firstPage = firstPage;
    this.pages = pages;
    this.bytesPerSecond = bytesPerSecond;
    this.random = new Mix(randomState);
    this.updates = updates;
  }

  long updates() {
    return updates;
  }

  long randomState() {
    return random.state();
  }

  /** Adds to the digests of all regions what the updates so far have changed, and forgets it. */
  void moveDigestChangesTo(long[] digests) {
    for (int i = 0; i < digests.length; i++) {
      digests[i] += digestChanges[i];
      digestChanges[i] = 0;
    }
  }

  /** Makes the current or the next run end after the record that is being written. */
  void stop() {
    stopped = true;
  }

  /** {@return what an update counts for, in bytes, of a thread that is throttled} */
  static long costOfUpdate(int throttlePercent) {
    return KvLayout.PAGE_BYTES * 100L / (100 - throttlePercent);
  }

  /** Leaves it so much less of its time; from 0 to 99. */
  void throttle(int percent) {
    throttlePercent = percent;
  }

  /** Makes the next run possible. */
  void prepare() {
    stopped = false;
  }

  @Override
  public void run() {
    if (pages == 0 || bytesPerSecond <= 0) {
      while (!stopped) {
        LockSupport.parkNanos(this, IDLE_NANOS);
      }
      return;
    }
    Pace pace = new Pace(bytesPerSecond);
    while (!stopped) {
      // What it could not do in the time that was taken from it, it does not make up for.
      if (pace.tryAcquire(costOfUpdate(throttlePercent))) {
        updateOne();
      }
    }
  }

  /** Updates a record. */
  void updateOne() {
    long page = firstPage + pickPage();
    long record = page * KvLayout.RECORDS_PER_PAGE + random.below(KvLayout.RECORDS_PER_PAGE);
    long at = layout.offsetOf(record);
    access.require(at, KvRecord.BYTES);
    long key = KvRecord.key(memory, at);
    int checksum = KvRecord.checksum(memory, at);
    if (key != record || checksum != KvRecord.computeChecksum(memory, at)) {
      throw new KvDamageException(
          "record %d, about to be updated, is damaged: its key is %d, its checksum %08x"
              .formatted(record, key, checksum));
    }
    long version = KvRecord.version(memory, at);
    long before = KvRecord.digest(key, version, checksum);
    if (random.below(UPDATES_PER_REWRITE) == 0) {
      KvRecord.write(memory, at, key, version + 1);
    } else {
      KvRecord.writeVersion(memory, at, key, version + 1);
    }
    digestChanges[layout.regionOf(record)] += KvRecord.digest(memory, at) - before;
    // Only this thread writes it.
    long sofar = updates;
    updates = sofar + 1;
  }

  private long pickPage() {
    long hotPages = pages / PAGES_PER_HOT_PAGE;
    if (hotPages == 0 || random.below(100) >= HOT_OF_HUNDRED) {
      return random.below(pages);
    }
    long group = random.below(hotPages);
    long place = Long.remainderUnsigned(Mix.mix(firstPage + group), PAGES_PER_HOT_PAGE);
    return group * PAGES_PER_HOT_PAGE + place;
  }
}
