package io.pageflux.qemu.stream;

import io.pageflux.MigrationException;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * What a migration stream holds.
 *
 * @param streamBytes how many bytes were read
 * @param machineType what the destination's machine has to be, if the stream says it
 * @param capabilities those that both sides must have switched on
 * @param pageSizeBytes the size of a page
 * @param commands how often each command came
 * @param sections how many sections of the RAM there are: START, PARTs and END
 * @param batches into how many batches the reader put the pages
 * @param blocks the RAM blocks, in the stream's order
 * @param tailBytes how many bytes came after the RAM
 * @param devices what the description at the end of the stream says; empty if there is none
 * @param error what is wrong with the stream, if anything is
 */
public record QemuStreamSummary(
    long streamBytes,
    Optional<String> machineType,
    List<String> capabilities,
    int pageSizeBytes,
    Map<QemuCommand, Long> commands,
    long sections,
    long batches,
    List<Block> blocks,
    long tailBytes,
    List<Device> devices,
    Optional<MigrationException> error) {

  /**
   * How much came in one form.
   *
   * @param bytes of the stream, addresses and names included
   */
  public record Count(long records, long bytes) {

    /** Nothing. */
    public static final Count NONE = new Count(0, 0);

    /** {@return this and another together} */
    public Count plus(Count other) {
      return new Count(records + other.records, bytes + other.bytes);
    }
  }

  /**
   * A page that came more than once.
   *
   * @param page its index in its block
   * @param count how often it came
   */
  public record HotPage(long page, int count) {}

  /**
   * A RAM block.
   *
   * @param guestPhysicalAddress where the guest sees it, if the stream says it
   * @param counts by form; forms that did not come are missing
   * @param hottest the pages that came most often, most often first; none if the guest is too large
   *     to count every page
   */
  public record Block(
      String name,
      long sizeBytes,
      OptionalLong guestPhysicalAddress,
      Map<QemuRecordType, Count> counts,
      List<HotPage> hottest) {}

  /**
   * A device's state.
   *
   * @param version of its format
   * @param sizeBytes without the section's framing
   */
  public record Device(String name, long instance, long version, long sizeBytes) {}

  /** {@return how much of all blocks came in a form} */
  public Count total(QemuRecordType type) {
    return blocks.stream()
        .map(block -> block.counts().getOrDefault(type, Count.NONE))
        .reduce(Count.NONE, Count::plus);
  }
}
