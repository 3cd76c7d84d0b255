package io.pageflux.qemu.stream;

import io.pageflux.MigrationException;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import io.pageflux.page.SlabPool;
import io.pageflux.qemu.stream.QemuStreamSummary.Count;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Reads a captured migration stream, and says what it holds; or counts what a stream holds while
 * somebody else reads it, with the {@linkplain #reader reader} that it makes.
 *
 * <p>A stream that is at fault is summarised up to the fault, which the summary holds.
 *
 * <p><b>Memory bound:</b> whatever the stream says: a reader and its slab, 4 bytes of heap for each
 * page of a guest of up to {@value #MAX_COUNTED_PAGES} pages (for a larger one pages are not
 * counted one by one), and 8 MiB for the end of the stream.
 */
public final class QemuInspection {

  /** The most pages of a guest that are counted one by one: 64 GiB of 4 KiB pages. */
  public static final long MAX_COUNTED_PAGES = 16L << 20;

  /** How many pages of each block are named that came most often. */
  public static final int HOTTEST = 10;

  private static final BatchGeometry GEOMETRY =
      BatchGeometry.forPageSize(1 << QemuFormat.MAX_PAGE_BITS);

  private final Map<QemuCommand, Long> commands = new EnumMap<>(QemuCommand.class);
  private final DeviceDescription description = new DeviceDescription();
  private final List<Map<QemuRecordType, long[]>> counts = new ArrayList<>();
  private final List<PageCounts> pageCounts = new ArrayList<>();
  private Optional<String> machineType = Optional.empty();
  private List<String> capabilities = List.of();
  private @Nullable QemuRamLayout layout;
  private int pageSize;
  private long sections;
  private long batches;
  private long tailBytes;

  private final int targetPageSizeBytes;
  private final long maxCountedPages;

  private QemuInspection(int targetPageSizeBytes) {
    this(targetPageSizeBytes, MAX_COUNTED_PAGES);
  }

  /**
   * Begins, for whoever reads a stream himself.
   *
   * <p><b>Threading:</b> for one thread at a time, the one that reads.
   *
   * @param targetPageSizeBytes the guest's smallest page size, for streams that do not say it
   * @param maxCountedPages pages of a guest that has more are not counted one by one; 0 for none
   */
  public QemuInspection(int targetPageSizeBytes, long maxCountedPages) {
    this.targetPageSizeBytes = targetPageSizeBytes;
    this.pageSize = targetPageSizeBytes;
    this.maxCountedPages = maxCountedPages;
  }

  /** {@return a reader whose page records are counted here; to be called once} */
  public QemuStreamReader reader(BatchGeometry geometry) {
    return new QemuStreamReader(geometry, targetPageSizeBytes, this::count);
  }

  /**
   * Reads a file.
   *
   * @throws IOException if it cannot be read
   */
  public static QemuStreamSummary inspect(Path file) throws IOException {
    try (ReadableByteChannel channel = Files.newByteChannel(file)) {
      return inspect(channel, 4096);
    }
  }

  /**
   * Reads to the end of a channel.
   *
   * @param targetPageSizeBytes the guest's smallest page size, for streams that do not say it
   * @throws IOException if it cannot be read
   */
  public static QemuStreamSummary inspect(ReadableByteChannel channel, int targetPageSizeBytes)
      throws IOException {
    QemuInspection inspection = new QemuInspection(targetPageSizeBytes);
    try (SlabPool pool = new SlabPool(1, GEOMETRY);
        QemuStreamReader reader = inspection.reader(GEOMETRY)) {
      MigrationException error = null;
      try {
        inspection.readAll(channel, reader, pool);
      } catch (MigrationException e) {
        error = e;
      }
      return inspection.summary(reader.bytesRead(), error);
    }
  }

  private void readAll(ReadableByteChannel channel, QemuStreamReader reader, SlabPool pool)
      throws IOException {
    ByteBuffer in = ByteBuffer.allocate(256 << 10);
    while (channel.read(in.clear()) >= 0) {
      in.flip();
      while (true) {
        QemuElement element = reader.read(in);
        if (element != null) {
          take(element);
        } else if (reader.needsSlab()) {
          Lease lease = pool.tryAcquire();
          if (lease == null) {
            throw new IllegalStateException("the only slab was lost");
          }
          reader.supply(lease);
        } else {
          break;
        }
      }
    }
    for (QemuElement last = reader.end(); last != null; last = reader.end()) {
      take(last);
    }
  }

  private void take(QemuElement element) {
    note(element);
    element.release();
  }

  /** Counts an element that the reader has returned; it stays the caller's. */
  public void note(QemuElement element) {
    switch (element) {
      case QemuElement.Configuration configuration -> {
        machineType = Optional.of(configuration.machineType());
        capabilities = configuration.capabilities();
      }
      case QemuElement.Command command -> commands.merge(command.command(), 1L, Long::sum);
      case QemuElement.RamBlocks blocks -> begin(blocks);
      case QemuElement.SectionStart start -> sections++;
      case QemuElement.SectionPart part -> sections++;
      case QemuElement.SectionEnd end -> sections++;
      case QemuElement.DeviceTail tail -> {
        ByteBuffer raw = tail.raw();
        tailBytes += raw.remaining();
        description.add(raw);
      }
      case QemuElement.Pages pages -> batches++;
      case QemuElement.Header header -> {}
      case QemuElement.EndOfRamData end -> {}
      case QemuElement.MultifdFlush flush -> {}
      case QemuElement.Packaged packaged -> {}
      case QemuElement.Footer footer -> {}
    }
  }

  private void begin(QemuElement.RamBlocks blocks) {
    layout = blocks.layout();
    pageSize = blocks.pageSizeBytes();
    boolean countPages = blocks.layout().totalBytes() / pageSize <= maxCountedPages;
    for (QemuRamLayout.Block block : blocks.layout().blocks()) {
      if (block.usedLengthBytes() > 0) {
        counts.add(new EnumMap<>(QemuRecordType.class));
        pageCounts.add(new PageCounts(countPages ? block.usedLengthBytes() / pageSize : 0));
      }
    }
  }

  private void count(QemuRecordType type, int block, long page, long bytes) {
    long[] count = counts.get(block).computeIfAbsent(type, t -> new long[2]);
    count[0]++;
    count[1] += bytes;
    pageCounts.get(block).count(page);
  }

  /**
   * {@return what has been counted so far}
   *
   * @param bytesRead how many bytes the stream has so far
   * @param error what is wrong with it; the devices are not looked for then
   */
  public QemuStreamSummary summary(long bytesRead, @Nullable MigrationException error) {
    return new QemuStreamSummary(
        bytesRead,
        machineType,
        capabilities,
        pageSize,
        Map.copyOf(commands),
        sections,
        batches,
        blocks(),
        tailBytes,
        error == null ? description.devices() : List.of(),
        Optional.ofNullable(error));
  }

  private List<QemuStreamSummary.Block> blocks() {
    List<QemuStreamSummary.Block> blocks = new ArrayList<>();
    int index = 0;
    for (QemuRamLayout.Block block :
        layout == null ? List.<QemuRamLayout.Block>of() : layout.blocks()) {
      Map<QemuRecordType, Count> byType = new EnumMap<>(QemuRecordType.class);
      List<QemuStreamSummary.HotPage> hottest = List.of();
      if (block.usedLengthBytes() > 0) {
        counts.get(index).forEach((type, count) -> byType.put(type, new Count(count[0], count[1])));
        hottest = pageCounts.get(index).hottest(HOTTEST);
        index++;
      }
      blocks.add(
          new QemuStreamSummary.Block(
              block.name(),
              block.usedLengthBytes(),
              block.guestPhysicalAddress(),
              byType,
              hottest));
    }
    return blocks;
  }
}
