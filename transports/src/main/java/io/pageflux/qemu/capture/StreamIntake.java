package io.pageflux.qemu.capture;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import io.pageflux.page.SlabPool;
import io.pageflux.qemu.stream.QemuCommand;
import io.pageflux.qemu.stream.QemuElement;
import io.pageflux.qemu.stream.QemuInspection;
import io.pageflux.qemu.stream.QemuStreamLoader;
import io.pageflux.qemu.stream.QemuStreamReader;
import io.pageflux.qemu.stream.QemuStreamSummary;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Takes the stream: writes its bytes down as they are, and its pages to the images.
 *
 * <p>A batch is loaded before the next one is read, so one slab is enough.
 *
 * <p><b>Threading:</b> for one thread at a time, which may be blocked.
 */
final class StreamIntake implements AutoCloseable {

  /** For the largest page that a stream may have. */
  private static final BatchGeometry GEOMETRY = BatchGeometry.forPageSize(2 << 20);

  private final CaptureSpec spec;
  private final CaptureFiles files;
  private final ReturnPath back;
  private final SlabPool pool = new SlabPool(1, GEOMETRY);
  private final QemuInspection inspection;
  private final QemuStreamReader reader;
  private final TailEnd tail = new TailEnd();
  private @Nullable QemuStreamLoader loader;
  private List<CaptureInfo.Image> images = List.of();
  private long bytes;

  StreamIntake(CaptureSpec spec, CaptureFiles files, ReturnPath back) {
    this.spec = spec;
    this.files = files;
    this.back = back;
    this.inspection = new QemuInspection(spec.pageSizeBytes(), 0);
    this.reader = inspection.reader(GEOMETRY);
  }

  /** Takes the next bytes. */
  void take(ByteBuffer next) throws IOException {
    bytes += next.remaining();
    files.write(next.duplicate());
    while (true) {
      QemuElement element = reader.read(next);
      if (element != null) {
        take(element);
      } else if (reader.needsSlab()) {
        reader.supply(slab());
      } else {
        return;
      }
    }
  }

  private Lease slab() {
    Lease lease = pool.tryAcquire();
    if (lease == null) {
      throw new IllegalStateException("the only slab was lost");
    }
    return lease;
  }

  private void take(QemuElement element) throws IOException {
    inspection.note(element);
    switch (element) {
      case QemuElement.Pages pages -> {
        try {
          load(pages);
        } finally {
          pages.release();
        }
      }
      case QemuElement.DeviceTail piece -> tail.add(piece.raw());
      case QemuElement.RamBlocks ram -> begin(ram);
      case QemuElement.Configuration configuration -> {
        if (configuration.capabilities().contains("x-ignore-shared")) {
          throw refused("x-ignore-shared", "the RAM that it leaves out would be missing");
        }
      }
      case QemuElement.Command command -> {
        if (command.command() == QemuCommand.OPEN_RETURN_PATH) {
          back.open();
        } else if (command.command() == QemuCommand.PING) {
          back.pong(command.payload().getInt());
        }
      }
      case QemuElement.MultifdFlush flush ->
          throw refused("multifd", "its pages do not come on this connection");
      default -> {}
    }
  }

  private static MigrationException refused(String capability, String why) {
    return MigrationException.of(
        Kind.PROTOCOL,
        "QEMU migrates with the capability %s: switch it off, for %s".formatted(capability, why));
  }

  private void begin(QemuElement.RamBlocks ram) throws IOException {
    long total = ram.layout().totalBytes();
    if (total > spec.maxRamBytes()) {
      throw MigrationException.of(
          Kind.LAYOUT,
          "the guest has %d bytes of RAM, which is more than the limit of %d"
              .formatted(total, spec.maxRamBytes()));
    }
    images = files.makeImages(ram);
    loader = new QemuStreamLoader(files.memory());
    loader.take(ram);
  }

  private void load(QemuElement.Pages pages) throws IOException {
    QemuStreamLoader images = loader;
    if (images == null) {
      throw new IllegalStateException("pages before the list of RAM blocks");
    }
    files.aboutToLoad((long) pages.batch().size() * pages.batch().pageSizeBytes());
    images.take(pages);
  }

  /** {@return how many bytes have come} */
  long bytes() {
    return bytes;
  }

  /** {@return whether the RAM is complete, and more has come} */
  boolean isInTail() {
    return tail.bytes() > 0;
  }

  /** {@return whether what has come is a whole stream, unless more comes} */
  boolean isWhole() {
    return tail.isComplete();
  }

  /**
   * Says that no more comes.
   *
   * @throws MigrationException of kind {@code TRANSPORT} if this is no place to end
   */
  void end() throws IOException {
    for (QemuElement last = reader.end(); last != null; last = reader.end()) {
      take(last);
    }
    boolean whole = isWhole() || !spec.described() && tail.endsWithMarker();
    if (!whole) {
      throw MigrationException.of(
          Kind.TRANSPORT,
          "the stream ended after %d bytes in the middle of the devices' state".formatted(bytes)
              + (spec.described()
                  ? ": the description of the devices is missing. If the machine has"
                      + " suppress-vmdesc=on, say so"
                  : ""));
    }
  }

  /** {@return what the stream holds} */
  QemuStreamSummary summary() {
    return inspection.summary(bytes, null);
  }

  List<CaptureInfo.Image> images() {
    return images;
  }

  long zeroPages() {
    return loader == null ? 0 : loader.zeroPages();
  }

  long wholePages() {
    return loader == null ? 0 : loader.wholePages();
  }

  long deltaPages() {
    return loader == null ? 0 : loader.deltaPages();
  }

  @Override
  public void close() {
    reader.close();
    pool.close();
  }
}
