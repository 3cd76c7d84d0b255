package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.wire.WireRecord;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * Writes pages to memory that the destination shares with this process, on the same machine.
 *
 * <p>What cannot be opened, or is not what was offered, is not used, and its pages go by the
 * stream.
 */
final class SharedPages implements PageSaver {

  private final Arena arena;
  private final Map<Integer, MemorySegment> targets;
  private final List<String> refusals;

  private SharedPages(Arena arena, Map<Integer, MemorySegment> targets, List<String> refusals) {
    this.arena = arena;
    this.targets = targets;
    this.refusals = refusals;
  }

  static SharedPages open(RamLayout layout, WireRecord.Offer offer) {
    Arena arena = Arena.ofShared();
    Map<Integer, MemorySegment> targets = new TreeMap<>();
    List<String> refusals = new ArrayList<>();
    try {
      String elsewhere = SharedFiles.elsewhere(offer.machine());
      for (WireRecord.Offer.Block block : offer.blocks()) {
        var shape = layout.blocks().get(block.block());
        String refusal = elsewhere;
        if (refusal == null) {
          try {
            targets.put(
                block.block(), SharedFiles.map(offer.process(), block, shape.sizeBytes(), arena));
          } catch (SharedFiles.RefusedException e) {
            refusal = String.valueOf(e.getMessage());
          }
        }
        if (refusal != null) {
          refusals.add("RAM block '%s': %s".formatted(shape.name(), refusal));
        }
      }
      return new SharedPages(arena, targets, refusals);
    } catch (RuntimeException | Error e) {
      arena.close();
      throw e;
    }
  }

  @Override
  public Saved save(PageBatch batch) {
    MemorySegment target = targets.get(batch.blockIndex());
    return target == null ? Saved.NOT_SUPPORTED : place(batch, target);
  }

  private static Saved place(PageBatch batch, MemorySegment target) {
    int pageBytes = batch.pageSizeBytes();
    long offset = batch.payloadOffset();
    long bytes = 0;
    try {
      int end;
      for (int i = 0; i < batch.size(); i = end) {
        end = i + 1;
        if (batch.kind(i) == PageKind.RAW) {
          while (end < batch.size()
              && batch.kind(end) == PageKind.RAW
              && batch.page(end) == batch.page(end - 1) + 1) {
            end++;
          }
          long run = (long) (end - i) * pageBytes;
          MemorySegment.copy(batch.slab(), offset, target, batch.page(i) * pageBytes, run);
          offset += run;
          bytes += run;
        } else {
          offset += batch.length(i);
        }
      }
    } catch (InternalError e) {
      // What the virtual machine makes of SIGBUS. The file cannot be cut short: no room for a page.
      throw MigrationException.of(
          Kind.INTERNAL, "the destination's memory cannot be written to: the machine has none", e);
    }
    return bytes == 0 ? Saved.NOT_SUPPORTED : new Saved(Result.DONE, bytes);
  }

  @Override
  public List<Integer> blocks() {
    return List.copyOf(targets.keySet());
  }

  @Override
  public List<String> refusals() {
    return refusals;
  }

  @Override
  public void close() {
    if (arena.scope().isAlive()) {
      arena.close();
    }
  }

  @Nullable MemorySegment target(int block) {
    return targets.get(block);
  }
}
