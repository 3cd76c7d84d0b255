package io.pageflux.examples.kv;

import io.pageflux.memory.RamBlock;
import io.pageflux.migration.Guest;
import java.io.ByteArrayOutputStream;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * A key-value store in guest memory that threads of its own write all the time.
 *
 * <p>Memory outside the store's block: about 16 KiB of heap and 16 KiB per thread. Methods may be
 * called from any thread; they and the publishers wait for the writing threads, which end after the
 * record that they are at. {@link #close()} it before the memory.
 */
public final class KvGuest implements Guest, AutoCloseable {

  /** The least size of a store's memory in bytes. */
  public static final long MIN_BYTES = KvLayout.CHUNK_BYTES;

  private final MemorySegment memory;
  private final KvLayout layout;
  private final KvLoad load;
  private final KvAccess access;
  private final long[] digests = new long[KvLayout.REGIONS];
  private final List<Thread> threads = new ArrayList<>();
  // Replaced as a whole, by loading a state; read without the lock by updates().
  private volatile List<KvUpdater> updaters = List.of();
  private volatile @Nullable Throwable damage;
  private volatile int throttlePercent;

  private KvGuest(RamBlock block, KvLoad load, KvAccess access) {
    this.access = access;
    this.memory = block.segment();
    this.layout = new KvLayout(block.sizeBytes());
    this.load = load;
  }

  /** Fills a block that is all zeros with records. {@return a store in it, not running yet} */
  public static KvGuest create(RamBlock block, KvLoad load, long seed) {
    KvGuest guest = new KvGuest(block, load, KvAccess.DIRECT);
    guest.fill();
    Mix random = new Mix(seed);
    List<KvState.ThreadState> states = new ArrayList<>();
    for (int i = 0; i < load.threads(); i++) {
      states.add(new KvState.ThreadState(random.next(), 0));
    }
    guest.makeUpdaters(states);
    return guest;
  }

  /**
   * {@return a store whose memory and state have yet to come} The number of threads comes with the
   * state.
   */
  public static KvGuest awaited(RamBlock block, KvLoad load) {
    return awaited(block, load, KvAccess.DIRECT);
  }

  /**
   * {@return a store whose state has yet to come, and whose memory may still come when it runs}
   *
   * @param access what is asked before a record is touched
   */
  public static KvGuest awaited(RamBlock block, KvLoad load, KvAccess access) {
    return new KvGuest(block, load, access);
  }

  private void fill() {
    for (long record = 0; record < layout.recordCount(); record++) {
      long at = layout.offsetOf(record);
      KvRecord.write(memory, at, record, 1);
      digests[layout.regionOf(record)] += KvRecord.digest(memory, at);
    }
  }

  private void makeUpdaters(List<KvState.ThreadState> states) {
    List<KvUpdater> made = new ArrayList<>();
    long pages = layout.recordPages();
    int count = states.size();
    for (int i = 0; i < count; i++) {
      long from = pages * i / count;
      long to = pages * (i + 1) / count;
      made.add(
          new KvUpdater(
              memory,
              access,
              layout,
              from,
              to - from,
              (double) load.bytesPerSecond() / count,
              states.get(i).random(),
              states.get(i).updates()));
    }
    updaters = List.copyOf(made);
  }

  /** {@return the number of records} */
  public long recordCount() {
    return layout.recordCount();
  }

  /** {@return the updates made so far, here and wherever the store was before} */
  public long updates() {
    return updaters.stream().mapToLong(KvUpdater::updates).sum();
  }

  /** {@return whether threads are writing} */
  public synchronized boolean isRunning() {
    return !threads.isEmpty();
  }

  @Override
  public Mono<Void> pause() {
    return Mono.fromRunnable(this::pauseNow);
  }

  @Override
  public Mono<Void> resume() {
    return Mono.fromRunnable(this::resumeNow);
  }

  @Override
  public boolean canThrottle() {
    return true;
  }

  /** Lets the store be written at a rate that is so much lower. Does not wait. */
  @Override
  public Mono<Void> throttle(int percent) {
    return Mono.fromRunnable(
        () -> {
          throttlePercent = percent;
          updaters.forEach(updater -> updater.throttle(percent));
        });
  }

  /** {@return how much of its time is taken from it} */
  public int throttlePercent() {
    return throttlePercent;
  }

  private synchronized void resumeNow() {
    if (!threads.isEmpty()) {
      return;
    }
    if (updaters.isEmpty()) {
      throw new IllegalStateException("the key-value store cannot run: it has no state yet");
    }
    failIfDamaged();
    for (KvUpdater updater : updaters) {
      updater.throttle(throttlePercent);
      updater.prepare();
      Thread thread =
          Thread.ofPlatform()
              .name("kv-updater-" + threads.size())
              .daemon()
              .uncaughtExceptionHandler((t, e) -> damage = e)
              .unstarted(updater);
      threads.add(thread);
    }
    threads.forEach(Thread::start);
  }

  private synchronized void pauseNow() {
    stopThreads();
    failIfDamaged();
  }

  private void stopThreads() {
    updaters.forEach(KvUpdater::stop);
    boolean interrupted = false;
    for (Thread thread : threads) {
      while (true) {
        try {
          thread.join();
          break;
        } catch (InterruptedException e) {
          // Whoever is told that the guest is paused must be able to rely on it.
          interrupted = true;
        }
      }
    }
    threads.clear();
    updaters.forEach(updater -> updater.moveDigestChangesTo(digests));
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private void failIfDamaged() {
    Throwable cause = damage;
    if (cause != null) {
      throw cause instanceof KvDamageException known
          ? known
          : new IllegalStateException("the key-value store failed: " + cause, cause);
    }
  }

  @Override
  public Flux<byte[]> saveDeviceState() {
    return Flux.defer(() -> Flux.just(saveNow().toBytes()));
  }

  private synchronized KvState saveNow() {
    requirePaused("its state cannot be saved");
    return new KvState(
        layout.recordCount(),
        updaters.stream()
            .map(updater -> new KvState.ThreadState(updater.randomState(), updater.updates()))
            .toList(),
        digests.clone());
  }

  @Override
  public Mono<Void> loadDeviceState(Flux<byte[]> pieces) {
    return pieces
        .reduceWith(ByteArrayOutputStream::new, KvGuest::append)
        .doOnNext(bytes -> loadNow(bytes.toByteArray()))
        .then();
  }

  private static ByteArrayOutputStream append(ByteArrayOutputStream sofar, byte[] piece) {
    if (sofar.size() + (long) piece.length > KvState.MAX_BYTES) {
      throw new IllegalArgumentException(
          "the device state has more than the " + KvState.MAX_BYTES + " bytes of a store's");
    }
    sofar.writeBytes(piece);
    return sofar;
  }

  private synchronized void loadNow(byte[] bytes) {
    requirePaused("it cannot take a state");
    KvState state = KvState.ofBytes(bytes, layout.recordCount());
    System.arraycopy(state.digests(), 0, digests, 0, digests.length);
    makeUpdaters(state.threads());
    damage = null;
  }

  /**
   * Looks at every record.
   *
   * @throws IllegalStateException if the store is running
   */
  public synchronized KvVerification verify() {
    requirePaused("it cannot be verified");
    return KvVerifier.verify(memory, layout, digests);
  }

  private void requirePaused(String consequence) {
    if (!threads.isEmpty()) {
      throw new IllegalStateException("the key-value store is running: " + consequence);
    }
  }

  /** Stops the threads, and does not say whether they found damage. */
  @Override
  public synchronized void close() {
    stopThreads();
  }
}
