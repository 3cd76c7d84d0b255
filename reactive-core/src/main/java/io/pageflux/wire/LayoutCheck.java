package io.pageflux.wire;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;

/** Compares the two sides of a migration: their RAM blocks, and their batches. */
public final class LayoutCheck {

  /** How much of two layouts a message shows: beyond that nobody reads it. */
  private static final int MAX_SHOWN = 16;

  private LayoutCheck() {}

  /**
   * Requires that both sides have the same blocks: names, sizes and page sizes, in the same order.
   *
   * @param source what the source has
   * @param destination what the destination has
   * @throws MigrationException of kind {@code LAYOUT} that names the differences and shows both
   *     layouts
   */
  public static void requireSame(RamLayout source, RamLayout destination) {
    if (source.equals(destination)) {
      return;
    }
    throw MigrationException.of(
        Kind.LAYOUT,
        "the RAM blocks differ: %s. The source has %s, the destination has %s"
            .formatted(
                String.join("; ", differences(source, destination)),
                show(source),
                show(destination)));
  }

  /**
   * Requires that batches are no larger than this side takes.
   *
   * @param source what the source sends
   * @param most what the destination takes at the most
   * @throws MigrationException of kind {@code PROTOCOL} that names both
   */
  public static void requireAtMost(BatchGeometry source, BatchGeometry most) {
    if (source.maxPages() > most.maxPages() || source.payloadBytes() > most.payloadBytes()) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          ("the source sends batches of up to %d pages and %d bytes, but this side takes no more"
                  + " than %d pages and %d bytes")
              .formatted(
                  source.maxPages(), source.payloadBytes(), most.maxPages(), most.payloadBytes()));
    }
  }

  private static List<String> differences(RamLayout source, RamLayout destination) {
    List<String> found = new ArrayList<>();
    Map<String, RamBlockLayout> theirs = byName(destination);
    for (RamBlockLayout block : source.blocks()) {
      RamBlockLayout there = theirs.get(block.name());
      if (there == null) {
        found.add("the destination has no block " + name(block));
      } else {
        addDifference(found, block, "size", block.sizeBytes(), there.sizeBytes());
        addDifference(found, block, "page size", block.pageSizeBytes(), there.pageSizeBytes());
      }
    }
    Map<String, RamBlockLayout> ours = byName(source);
    for (RamBlockLayout block : destination.blocks()) {
      if (!ours.containsKey(block.name())) {
        found.add("the source has no block " + name(block));
      }
    }
    if (found.isEmpty()) {
      found.add("the same blocks are in another order");
    }
    if (found.size() > MAX_SHOWN) {
      int more = found.size() - MAX_SHOWN;
      found.subList(MAX_SHOWN, found.size()).clear();
      found.add("and " + more + " more differences");
    }
    return found;
  }

  private static void addDifference(
      List<String> found, RamBlockLayout block, String what, long source, long destination) {
    if (source != destination) {
      found.add(
          "the %s of block %s is %d bytes at the source, but %d at the destination"
              .formatted(what, name(block), source, destination));
    }
  }

  private static Map<String, RamBlockLayout> byName(RamLayout layout) {
    return layout.blocks().stream()
        .collect(Collectors.toMap(RamBlockLayout::name, Function.identity()));
  }

  private static String name(RamBlockLayout block) {
    return "'" + Texts.printable(block.name()) + "'";
  }

  private static String show(RamLayout layout) {
    List<RamBlockLayout> blocks = layout.blocks();
    List<String> shown = new ArrayList<>();
    for (RamBlockLayout block : blocks.subList(0, Math.min(MAX_SHOWN, blocks.size()))) {
      shown.add(Texts.printable(block.toString()));
    }
    if (blocks.size() > MAX_SHOWN) {
      shown.add("and " + (blocks.size() - MAX_SHOWN) + " more blocks");
    }
    return "[" + String.join("; ", shown) + "]";
  }
}
