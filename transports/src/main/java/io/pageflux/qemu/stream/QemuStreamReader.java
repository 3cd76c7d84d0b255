package io.pageflux.qemu.stream;

import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/** Turns the bytes of a QEMU migration stream into elements. */
public final class QemuStreamReader implements AutoCloseable {

  /** Makes a reader of a stream with 4 KiB pages unless it says otherwise. */
  public QemuStreamReader(BatchGeometry geometry) {
    this(geometry, 4096);
  }

  /** Makes a reader of a stream with pages of a size unless it says otherwise. */
  public QemuStreamReader(BatchGeometry geometry, int targetPageSizeBytes) {
    throw new UnsupportedOperationException(geometry + " " + targetPageSizeBytes);
  }

  /**
   * Takes bytes until an element is complete. Call it again with the same buffer until it returns
   * null; then, if {@link #needsSlab()}, {@link #supply} one and go on with the same buffer.
   */
  public @Nullable QemuElement read(ByteBuffer in) {
    throw new UnsupportedOperationException();
  }

  /** {@return whether the next page needs a slab before reading can go on} */
  public boolean needsSlab() {
    throw new UnsupportedOperationException();
  }

  /** Gives the reader a slab of its geometry; from here on it is the reader's to release. */
  public void supply(Lease lease) {
    throw new UnsupportedOperationException();
  }

  /** {@return the pages that are complete so far, or null if there are none} */
  public @Nullable QemuElement flush() {
    throw new UnsupportedOperationException();
  }

  /** Says that the peer has closed the stream. {@return the last pages, then null} */
  public @Nullable QemuElement end() {
    throw new UnsupportedOperationException();
  }

  /** {@return how many bytes were taken so far} */
  public long bytesRead() {
    throw new UnsupportedOperationException();
  }

  /** Gives back the slab of an incomplete batch. The reader cannot be used any more. */
  @Override
  public void close() {}
}
