package io.pageflux.wire;

import io.pageflux.MigrationException;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import java.util.UUID;

/** What the two sides of a migration say to one another. */
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
   * @param software the program's name and version, for messages
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
      implements WireRecord {}

  /**
   * The source's RAM blocks, and the largest batch that it will send.
   *
   * @param layout the blocks
   * @param geometry the batches' limits
   */
  record Layout(RamLayout layout, BatchGeometry geometry) implements WireRecord {}

  /** The destination has the same layout, has room for such batches, and awaits the first round. */
  record Ready() implements WireRecord {}

  /**
   * A round begins.
   *
   * @param round its number, from 1
   * @param last whether the guest is paused and this is the last one
   * @param pages how many pages are dirty
   */
  record RoundBegin(int round, boolean last, long pages) implements WireRecord {}

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
  record RoundEnd(int round, long zero, long raw, long delta) implements WireRecord {}

  /**
   * The destination has applied a round to its memory.
   *
   * @param round its number
   * @param pages how many pages that were
   */
  record RoundAck(int round, long pages) implements WireRecord {}

  /**
   * How far the destination is, now and then.
   *
   * @param bytes bytes of records taken from the connection so far
   * @param pages pages applied so far
   */
  record Progress(long bytes, long pages) implements WireRecord {}

  /**
   * A piece of the guest's opaque device state.
   *
   * @param bytes the piece, at most {@link WireLimits#MAX_DEVICE_STATE_PIECE_BYTES}
   */
  record DeviceState(byte[] bytes) implements WireRecord {}

  /**
   * The source has paused its guest and said all there is to say.
   *
   * @param pages pages sent in all rounds
   * @param deviceStateBytes bytes of device state
   */
  record End(long pages, long deviceStateBytes) implements WireRecord {}

  /**
   * The destination has everything and could start the guest.
   *
   * @param pages pages applied in all rounds
   */
  record Prepared(long pages) implements WireRecord {}

  /** The source has given the guest up: the destination may, and shall, start it. */
  record Commit() implements WireRecord {}

  /** The guest runs at the destination. */
  record Running() implements WireRecord {}

  /**
   * The side gives up.
   *
   * @param kind the kind of the failure
   * @param message the reason, for people
   */
  record Failure(MigrationException.Kind kind, String message) implements WireRecord {}

  /** The side is alive and has nothing to say. */
  record KeepAlive() implements WireRecord {}
}
