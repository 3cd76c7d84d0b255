package io.pageflux.qemu.stream;

import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import org.jspecify.annotations.Nullable;

/** A slab that was supplied and is not in use yet, if there is one. */
final class SpareSlab {

  private final BatchGeometry geometry;
  private @Nullable Lease lease;

  SpareSlab(BatchGeometry geometry) {
    this.geometry = geometry;
  }

  boolean isMissing() {
    return lease == null;
  }

  void put(Lease supplied) {
    if (lease != null) {
      throw new IllegalStateException("the reader has a slab already");
    }
    if (supplied.segment().byteSize() < geometry.slabBytes()) {
      throw new IllegalArgumentException(
          "a slab of %d bytes, but the reader's geometry needs %d"
              .formatted(supplied.segment().byteSize(), geometry.slabBytes()));
    }
    lease = supplied;
  }

  @Nullable Lease take() {
    Lease taken = lease;
    lease = null;
    return taken;
  }

  void close() {
    Lease unused = take();
    if (unused != null) {
      unused.release();
    }
  }
}
