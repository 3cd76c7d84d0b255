package io.pageflux.wire;

import io.pageflux.MigrationException;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/**
 * What the two sides of a migration say to one another.
 *
 * <p>Every value is checked when a record is made, so that neither side can say what the other
 * would refuse; the {@link WireReader} turns a refusal into a {@link MigrationException}.
 */
public sealed interface WireRecord {

  /**
   * The first record of either side.
   *
   * @param minVersion the lowest protocol version that the side speaks
   * @param version the highest
   * @param features what the side can do; see {@link Feature}
   * @param required those of them without which it will not go on
   * @param session names the migration; chosen by the source, repeated by the destination
   * @param channel which of the migration's connections this is, from 0
   * @param channels how many connections there will be; 1 in this version
   * @param software the program's name and version, for messages; cut to {@link
   *     WireLimits#MAX_TEXT_BYTES} when written
   */
  record Hello(
      int minVersion,
      int version,
      long features,
      long required,
      UUID session,
      int channel,
      int channels,
      String software)
      implements WireRecord {

    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if the versions are not 1 &lt;= minVersion &lt;= version
     *     &lt;= 65,535, the channel is not below the number of channels or that is not 1 to 65,535,
     *     or a feature is required that the side itself does not have
     */
    public Hello {
      Objects.requireNonNull(session, "session");
      Objects.requireNonNull(software, "software");
      if (minVersion < 1 || minVersion > version || version > 0xFFFF) {
        throw new IllegalArgumentException(
            "versions go from 1 to 65535, but these go from " + minVersion + " to " + version);
      }
      if (channels < 1 || channels > 0xFFFF || channel < 0 || channel >= channels) {
        throw new IllegalArgumentException("channel " + channel + " of " + channels);
      }
      if ((required & ~features) != 0) {
        throw new IllegalArgumentException(
            "a side cannot require what it does not have: " + Feature.names(required & ~features));
      }
    }
  }

  /**
   * The source's RAM blocks, and the largest batch that it will send.
   *
   * @param layout the blocks
   * @param geometry the batches' limits
   */
  record Layout(RamLayout layout, BatchGeometry geometry) implements WireRecord {

    /**
     * Checks that each fits the other.
     *
     * @throws IllegalArgumentException if there are more than {@link WireLimits#MAX_BLOCKS} blocks,
     *     or a page of some block is larger than a batch's payload
     */
    public Layout {
      int blocks = layout.blocks().size();
      if (blocks > WireLimits.MAX_BLOCKS) {
        throw new IllegalArgumentException(
            "a layout has at most " + WireLimits.MAX_BLOCKS + " RAM blocks, but " + blocks);
      }
      if (layout.largestPageSizeBytes() > geometry.payloadBytes()) {
        throw new IllegalArgumentException(
            "a page of %d bytes does not fit a batch of %d"
                .formatted(layout.largestPageSizeBytes(), geometry.payloadBytes()));
      }
    }
  }

  /** The destination has the same layout, has room for such batches, and awaits the first round. */
  record Ready() implements WireRecord {}

  /**
   * A round begins.
   *
   * @param round its number, from 1
   * @param last whether the guest is paused and this is the last one
   * @param pages how many pages are dirty
   */
  record RoundBegin(int round, boolean last, long pages) implements WireRecord {

    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if the round is below 1 or the number of pages below 0
     */
    public RoundBegin {
      requireRound(round);
      requireCount("dirty pages", pages);
    }
  }

  /**
   * Pages of the current round.
   *
   * @param batch owned by whoever holds this record
   */
  record Pages(PageBatch batch) implements WireRecord {}

  /**
   * The current round is complete, with the pages that it sent, by kind.
   *
   * @param round its number
   * @param zero zero pages
   * @param raw raw pages
   * @param delta delta pages
   */
  record RoundEnd(int round, long zero, long raw, long delta) implements WireRecord {

    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if the round is below 1, or a number of pages or their sum
     *     is not 0 to 2^63-1
     */
    public RoundEnd {
      requireRound(round);
      requireCount("zero pages", zero);
      requireCount("raw pages", raw);
      requireCount("delta pages", delta);
      requireCount("zero and raw pages", zero + raw);
      requireCount("pages", zero + raw + delta);
    }
  }

  /**
   * The destination has applied a round to its memory.
   *
   * @param round its number
   * @param pages how many pages that were
   */
  record RoundAck(int round, long pages) implements WireRecord {

    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if the round is below 1 or the number of pages below 0
     */
    public RoundAck {
      requireRound(round);
      requireCount("applied pages", pages);
    }
  }

  /**
   * How far the destination is, now and then.
   *
   * @param bytes bytes of records taken from the connection so far
   * @param pages pages applied so far
   */
  record Progress(long bytes, long pages) implements WireRecord {

    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if a number is below 0
     */
    public Progress {
      requireCount("bytes", bytes);
      requireCount("applied pages", pages);
    }
  }

  /**
   * A piece of the guest's opaque device state.
   *
   * @param bytes the piece, at most {@link WireLimits#MAX_DEVICE_STATE_PIECE_BYTES}
   */
  record DeviceState(byte[] bytes) implements WireRecord {

    /**
     * Checks the length. The array is not copied.
     *
     * @throws IllegalArgumentException if the piece is too long
     */
    public DeviceState {
      if (bytes.length > WireLimits.MAX_DEVICE_STATE_PIECE_BYTES) {
        throw new IllegalArgumentException(
            "a piece of device state has at most %d bytes, but this one has %d"
                .formatted(WireLimits.MAX_DEVICE_STATE_PIECE_BYTES, bytes.length));
      }
    }

    @Override
    public boolean equals(Object other) {
      return other instanceof DeviceState that && Arrays.equals(bytes, that.bytes);
    }

    @Override
    public int hashCode() {
      return Arrays.hashCode(bytes);
    }

    @Override
    public String toString() {
      return "DeviceState[" + bytes.length + " bytes]";
    }
  }

  /**
   * The source has paused its guest and said all there is to say.
   *
   * @param pages pages sent in all rounds
   * @param deviceStateBytes bytes of device state
   */
  record End(long pages, long deviceStateBytes) implements WireRecord {

    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if a number is below 0
     */
    public End {
      requireCount("pages", pages);
      requireCount("bytes of device state", deviceStateBytes);
    }
  }

  /**
   * The destination has everything and could start the guest.
   *
   * @param pages pages applied in all rounds
   */
  record Prepared(long pages) implements WireRecord {

    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if the number of pages is below 0
     */
    public Prepared {
      requireCount("applied pages", pages);
    }
  }

  /** The source has given the guest up: the destination may, and shall, start it. */
  record Commit() implements WireRecord {}

  /** The guest runs at the destination. */
  record Running() implements WireRecord {}

  /**
   * The side gives up.
   *
   * @param kind the kind of the failure
   * @param message the reason, for people; cut to {@link WireLimits#MAX_TEXT_BYTES} when written
   */
  record Failure(MigrationException.Kind kind, String message) implements WireRecord {

    /** Checks that there is a kind and a message. */
    public Failure {
      Objects.requireNonNull(kind, "kind");
      Objects.requireNonNull(message, "message");
    }
  }

  /** The side is alive and has nothing to say. */
  record KeepAlive() implements WireRecord {}

  /**
   * A piece of the stream of another protocol that passes through a relay as it is.
   *
   * @param bytes the piece, 1 to {@link WireLimits#MAX_STREAM_PIECE_BYTES}
   */
  record Stream(byte[] bytes) implements WireRecord {

    /**
     * Checks the length. The array is not copied.
     *
     * @throws IllegalArgumentException if the piece is empty or too long
     */
    public Stream {
      if (bytes.length == 0 || bytes.length > WireLimits.MAX_STREAM_PIECE_BYTES) {
        throw new IllegalArgumentException(
            "a piece of a stream has 1 to %d bytes, but this one has %d"
                .formatted(WireLimits.MAX_STREAM_PIECE_BYTES, bytes.length));
      }
    }

    @Override
    public boolean equals(Object other) {
      return other instanceof Stream that && Arrays.equals(bytes, that.bytes);
    }

    @Override
    public int hashCode() {
      return Arrays.hashCode(bytes);
    }

    @Override
    public String toString() {
      return "Stream[" + bytes.length + " bytes]";
    }
  }

  /** The stream that passes through has ended here: its writer has closed it. */
  record StreamEnd() implements WireRecord {}

  /**
   * Memory of the destination that the source may write to, if it runs on the same machine and can
   * open it.
   *
   * @param machine which machine, as it has called itself since it was started
   * @param process the destination's process
   * @param blocks the blocks that are offered, 1 to {@link WireLimits#MAX_BLOCKS}, in order
   */
  record Offer(UUID machine, int process, List<Block> blocks) implements WireRecord {

    /**
     * A block that is offered.
     *
     * @param block its index in the layout
     * @param descriptor the process's descriptor of the memory file that it is
     * @param token what that file's name ends with
     */
    public record Block(int block, int descriptor, UUID token) {

      /**
       * Checks the values.
       *
       * @throws IllegalArgumentException if the index is not that of a block of any layout, or the
       *     descriptor is negative
       */
      public Block {
        Objects.requireNonNull(token, "token");
        if (block < 0 || block >= WireLimits.MAX_BLOCKS || descriptor < 0) {
          throw new IllegalArgumentException(
              "no block %d, or no descriptor %d, can be offered".formatted(block, descriptor));
        }
      }
    }

    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if the process is below 1, or there are no blocks, too many,
     *     or not in ascending order
     */
    public Offer {
      Objects.requireNonNull(machine, "machine");
      blocks = List.copyOf(blocks);
      if (process < 1 || blocks.isEmpty() || blocks.size() > WireLimits.MAX_BLOCKS) {
        throw new IllegalArgumentException(
            "an offer is of 1 to %d blocks of a process from 1, but this one is of %d blocks of %d"
                .formatted(WireLimits.MAX_BLOCKS, blocks.size(), process));
      }
      for (int i = 1; i < blocks.size(); i++) {
        if (blocks.get(i).block() <= blocks.get(i - 1).block()) {
          throw new IllegalArgumentException("offered blocks come in ascending order, each once");
        }
      }
    }
  }

  /**
   * How far the destination of a migration that may be resumed is. Of a round that is not complete
   * it has the pages before a page of a block, in the order in which rounds ascend.
   *
   * @param round the round that came last; 0 if none did, and nothing is here
   * @param complete whether all of the round is here
   * @param block of the first page that is not; 0 if the round is complete
   * @param end the page; 0 if the round is complete
   */
  record ResumePoint(int round, boolean complete, int block, long end) implements WireRecord {

    /** Nothing is here. */
    public static final ResumePoint BEGINNING = new ResumePoint(0, true, 0, 0);

    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if one is out of range, or a page is named though the round
     *     is complete or none came
     */
    public ResumePoint {
      requireBlock(block);
      requireCount("pages", end);
      if (round < 0 || (round == 0 && !complete) || (complete && (block != 0 || end != 0))) {
        throw new IllegalArgumentException(
            "round %d, %s, cannot have come as far as page %d of block %d"
                .formatted(round, complete ? "complete" : "not complete", end, block));
      }
    }
  }

  /**
   * What is in pages of a destination that has an older copy of the memory.
   *
   * @param block the block's index
   * @param first the first page
   * @param hashes 16 bytes for each page: XXH3 of 128 bits, the more significant half first, its
   *     seed the session's halves, one xor the other
   */
  record PageHashes(int block, long first, byte[] hashes) implements WireRecord {

    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if one is out of range
     */
    public PageHashes {
      requireBlock(block);
      requireCount("pages", first);
      if (hashes.length == 0
          || hashes.length % RecordType.Sizes.HASH != 0
          || hashes.length > WireLimits.MAX_HASHES * RecordType.Sizes.HASH) {
        throw new IllegalArgumentException(
            "there are 1 to %d hashes of %d bytes, but these have %d bytes"
                .formatted(WireLimits.MAX_HASHES, RecordType.Sizes.HASH, hashes.length));
      }
    }

    /** {@return how many pages these are the hashes of} */
    public int count() {
      return hashes.length / RecordType.Sizes.HASH;
    }

    @Override
    public boolean equals(@Nullable Object other) {
      return other instanceof PageHashes(int b, long f, byte[] h)
          && b == block
          && f == first
          && Arrays.equals(h, hashes);
    }

    @Override
    public int hashCode() {
      return Objects.hash(block, first, Arrays.hashCode(hashes));
    }

    @Override
    public String toString() {
      return "PageHashes[block=%d, first=%d, count=%d]".formatted(block, first, count());
    }
  }

  /**
   * What the destination of a migration that may switch to post-copy is like.
   *
   * @param hostPageBytes the size of its pages: it can only be without whole ones
   * @param maxRequests how many pages it asks for at the most that have not been answered
   */
  record PostcopyAdvise(int hostPageBytes, int maxRequests) implements WireRecord {

    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if the page size is no power of two from 512 to {@link
     *     WireLimits#MAX_HOST_PAGE_BYTES}, or the number is not 1 to {@link
     *     WireLimits#MAX_PAGE_REQUESTS}
     */
    public PostcopyAdvise {
      if (hostPageBytes < 512
          || hostPageBytes > WireLimits.MAX_HOST_PAGE_BYTES
          || Integer.bitCount(hostPageBytes) != 1) {
        throw new IllegalArgumentException(
            "a host's page size is a power of two from 512 to %d, but this one is %d"
                .formatted(WireLimits.MAX_HOST_PAGE_BYTES, hostPageBytes));
      }
      if (maxRequests < 1 || maxRequests > WireLimits.MAX_PAGE_REQUESTS) {
        throw new IllegalArgumentException(
            "1 to %d pages may be asked for at a time, but these are %d"
                .formatted(WireLimits.MAX_PAGE_REQUESTS, maxRequests));
      }
    }
  }

  /** The source is about to switch to post-copy and connects the lane for requests. */
  record PostcopyListen() implements WireRecord {}

  /**
   * Pages that the destination lacks, or has as they are no more.
   *
   * @param block the block's index
   * @param runs 1 to {@link WireLimits#MAX_DISCARDED_RUNS}, in ascending order, not touching one
   *     another
   */
  record Discard(int block, List<Run> runs) implements WireRecord {

    /**
     * Consecutive pages.
     *
     * @param first the first one
     * @param pages how many
     */
    public record Run(long first, long pages) {

      /**
       * Checks the values.
       *
       * @throws IllegalArgumentException if the first is below 0, there are none, or the end is
       *     above 2^63-1
       */
      public Run {
        if (first < 0 || pages < 1 || first > Long.MAX_VALUE - pages) {
          throw new IllegalArgumentException(
              "no run of %s pages from page %s"
                  .formatted(Long.toUnsignedString(pages), Long.toUnsignedString(first)));
        }
      }
    }

    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if the block is none of any layout, or the runs are none,
     *     too many, or not in order
     */
    public Discard {
      runs = List.copyOf(runs);
      requireBlock(block);
      if (runs.isEmpty() || runs.size() > WireLimits.MAX_DISCARDED_RUNS) {
        throw new IllegalArgumentException(
            "1 to %d runs are discarded at a time, but these are %d"
                .formatted(WireLimits.MAX_DISCARDED_RUNS, runs.size()));
      }
      for (int i = 1; i < runs.size(); i++) {
        Run before = runs.get(i - 1);
        if (runs.get(i).first() <= before.first() + before.pages()) {
          throw new IllegalArgumentException(
              "a run of discarded pages from page %d follows one up to page %d"
                  .formatted(runs.get(i).first(), before.first() + before.pages() - 1));
        }
      }
    }
  }

  /**
   * The source has paused its guest and said all that the destination needs to start it; pages that
   * were discarded follow.
   *
   * @param pages pages sent in all rounds
   * @param absentPages pages that were discarded
   * @param deviceStateBytes bytes of device state
   */
  record PostcopyBegin(long pages, long absentPages, long deviceStateBytes) implements WireRecord {

    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if a number is below 0
     */
    public PostcopyBegin {
      requireCount("pages", pages);
      requireCount("absent pages", absentPages);
      requireCount("bytes of device state", deviceStateBytes);
    }
  }

  /**
   * The guest waits for pages.
   *
   * @param block the block's index
   * @param first the first page
   * @param count how many, 1 to {@link WireLimits#MAX_PAGE_REQUESTS}
   */
  record PageRequest(int block, long first, int count) implements WireRecord {

    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if one is out of range
     */
    public PageRequest {
      requireBlock(block);
      requireCount("the first page", first);
      if (count < 1 || count > WireLimits.MAX_PAGE_REQUESTS) {
        throw new IllegalArgumentException(
            "1 to %d pages are asked for at a time, but these are %d"
                .formatted(WireLimits.MAX_PAGE_REQUESTS, count));
      }
    }
  }

  /**
   * All absent pages were sent.
   *
   * @param pushed so many on this connection
   * @param requested so many on the lane for requests
   */
  record PostcopyEnd(long pushed, long requested) implements WireRecord {

    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if a number or the sum is not 0 to 2^63-1
     */
    public PostcopyEnd {
      requireCount("pushed pages", pushed);
      requireCount("requested pages", requested);
      requireCount("pages", pushed + requested);
    }
  }

  /**
   * The destination has every page: the source's memory is not needed any more.
   *
   * @param pages absent pages that have come
   */
  record PostcopyComplete(long pages) implements WireRecord {

    /**
     * Checks the value.
     *
     * @throws IllegalArgumentException if it is below 0
     */
    public PostcopyComplete {
      requireCount("absent pages that have come", pages);
    }
  }

  /**
   * To a source that has lost the connection after the switch: the guest runs here, and the pages
   * that it lacks are named next.
   *
   * @param absentPages pages that were absent at the switch
   * @param missingPages so many of them have not come
   * @param ownedPages absent pages that the guest has written itself, at the most
   */
  record GuestRuns(long absentPages, long missingPages, long ownedPages) implements WireRecord {

    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if one is below 0, or more are missing or were written than
     *     were absent
     */
    public GuestRuns {
      requireCount("absent pages", absentPages);
      requireCount("missing pages", missingPages);
      requireCount("written pages", ownedPages);
      if (missingPages > absentPages || ownedPages > absentPages) {
        throw new IllegalArgumentException(
            "of %d absent pages %d are missing and %d were written"
                .formatted(absentPages, missingPages, ownedPages));
      }
    }
  }

  /**
   * The source has learnt what is missing, and sends it.
   *
   * @param missingPages how many pages that is
   */
  record PostcopyResume(long missingPages) implements WireRecord {

    /**
     * Checks the value.
     *
     * @throws IllegalArgumentException if it is below 0
     */
    public PostcopyResume {
      requireCount("missing pages", missingPages);
    }
  }

  private static void requireBlock(int block) {
    if (block < 0 || block >= WireLimits.MAX_BLOCKS) {
      throw new IllegalArgumentException(
          "a block's index is 0 to %d, but this one is %d"
              .formatted(WireLimits.MAX_BLOCKS - 1, block));
    }
  }

  private static void requireRound(int round) {
    if (round < 1) {
      throw new IllegalArgumentException("rounds count from 1, but this one is " + round);
    }
  }

  private static void requireCount(String what, long count) {
    if (count < 0) {
      throw new IllegalArgumentException(
          "the number of " + what + " is 0 to 2^63-1, but was " + Long.toUnsignedString(count));
    }
  }
}
