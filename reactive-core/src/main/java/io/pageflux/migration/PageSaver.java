package io.pageflux.migration;

import io.pageflux.memory.RamLayout;
import io.pageflux.page.PageBatch;
import io.pageflux.wire.WireRecord;
import java.util.List;
import reactor.core.publisher.Mono;

/**
 * Takes pages over on their way to the wire, and brings them into the destination's memory itself:
 * the place that RDMA has in QEMU, with its {@code save_page}.
 *
 * <p>The stream goes on and says, in order, which pages were placed; so rounds, their counts and
 * their acknowledgements are what they are without it, and what was placed counts as applied only
 * when its round is acknowledged. Zero pages stay in the stream. A page that is placed is neither
 * encoded nor compressed.
 *
 * <p><b>Threading:</b> {@link #save} is called by the scanning thread, {@link #flush} subscribed to
 * on it, {@link #close} called on it, all one after the other. {@code save} must not block for
 * long. If it, or a flush, takes longer than the spec's {@code peerTimeout}, the migration fails
 * and the thread is interrupted.
 *
 * <p><b>Errors:</b> whatever is thrown ends the migration, with the guest going on at the source.
 */
public interface PageSaver extends AutoCloseable {

  /** What became of a batch, with QEMU's names. */
  enum Result {
    /** Nothing: the pages go by the stream. */
    NOT_SUPPORTED,
    /** The pages were taken, and will be in place when the next {@link #flush} has completed. */
    DELAYED,
    /** The pages are in place. */
    DONE
  }

  /**
   * What became of a batch.
   *
   * @param result whether it was taken
   * @param bytes bytes that went another way than by the stream; they count for the position, so
   *     for bandwidth, limits and {@code transferred}
   */
  record Saved(Result result, long bytes) {

    /** Nothing was done. */
    public static final Saved NOT_SUPPORTED = new Saved(Result.NOT_SUPPORTED, 0);

    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if there are less than no bytes, or bytes of what was not
     *     taken
     */
    public Saved {
      if (bytes < 0 || result == Result.NOT_SUPPORTED && bytes > 0) {
        throw new IllegalArgumentException(bytes + " bytes saved, " + result);
      }
    }
  }

  /** Makes a saver, once for each migration, when the destination has made an offer. */
  @FunctionalInterface
  interface Maker {
    /**
     * Makes a saver. What cannot be used is no error: see {@link PageSaver#refusals()}.
     *
     * @param layout the blocks
     * @param offer what the destination offers; all its blocks are in the layout
     * @return it
     */
    PageSaver make(RamLayout layout, WireRecord.Offer offer);
  }

  /** {@return the maker of savers that write to memory that both sides share} */
  static Maker sharedMemory() {
    return SharedPages::open;
  }

  /**
   * Takes all raw pages of a batch over, or none.
   *
   * @param batch stays the caller's, and as it is; what is needed of it later must be copied
   */
  Saved save(PageBatch batch);

  /** Completes when all pages that were taken are in place. Asked for at the end of each round. */
  default Mono<Void> flush() {
    return Mono.empty();
  }

  /** {@return the indices of the blocks whose pages may be placed} */
  List<Integer> blocks();

  /** {@return why blocks that were offered are not used, for people} */
  default List<String> refusals() {
    return List.of();
  }

  /**
   * Lets go of the destination's memory: nothing is written to it any more. Called before the guest
   * is handed over, and in any case at the end; may be called again.
   */
  @Override
  void close();
}
