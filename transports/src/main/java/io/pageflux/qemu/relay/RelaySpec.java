package io.pageflux.qemu.relay;

import io.pageflux.codec.XbzrleCaches;
import io.pageflux.codec.XbzrleSpec;
import io.pageflux.migration.CompressionSpec;
import io.pageflux.page.BatchGeometry;
import java.time.Duration;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * How a relay is to work. Immutable: each {@code with} method returns a changed copy.
 *
 * <p><b>Memory bound</b> of a relay: {@link #slabs()} slabs of {@code geometry().slabBytes()}, a
 * zstd context for each worker, the window between the relays ({@link RelayWindow}) in the kernel's
 * socket buffers; a read burst of each of up to 16 clients that have not yet shown whether they are
 * QEMU, or a relay; and at the source, if deltas are made, a copy of every page that was sent, up
 * to {@code xbzrle().cacheBytes()}, which a relay that serves several migrations keeps in between,
 * see {@link XbzrleCaches}.
 *
 * @param compression how pages are compressed between the relays, or null for not at all: at this
 *     level, and at up to 5 while the link limits the migration. For the destination only its
 *     workers are of interest
 * @param adaptive whether pages are sent as they are while the link has room for that, which cannot
 *     always be told rightly, see {@link CompressionChoice}; over TCP with epoll only, elsewhere
 *     they are always compressed. Without meaning at the destination
 * @param xbzrle how deltas are made, or null for not at all; without meaning at the destination. A
 *     cache as large as the guest misses no page; it takes memory as pages are sent. Pages of the
 *     first pass that are not compressed are not remembered
 * @param geometry how large a batch of pages is. Smaller ones wait less for one another, larger
 *     ones compress better
 * @param pageSizeBytes the size of QEMU's target page, 4,096 but for few machines
 * @param peerTimeout how long the other relay may be silent, and a client that may be QEMU or a
 *     relay before its first word, at least 100 ms
 * @param closeTimeout how long the destination's QEMU may take to close its connection after
 *     everything was passed on to it
 * @param progressInterval how often progress is told
 */
public record RelaySpec(
    @Nullable CompressionSpec compression,
    boolean adaptive,
    @Nullable XbzrleSpec xbzrle,
    BatchGeometry geometry,
    int pageSizeBytes,
    Duration peerTimeout,
    Duration closeTimeout,
    Duration progressInterval) {

  /** 128 pages of 4 KiB: zstd makes 1 % less of them than of 64, and the way is short enough. */
  private static final BatchGeometry BATCHES = new BatchGeometry(128, 512 << 10);

  /** zstd in two threads, always; deltas against all that was sent. */
  public static final RelaySpec DEFAULT =
      new RelaySpec(
          new CompressionSpec(1, 2),
          false,
          XbzrleSpec.DEFAULT.withCacheBytes(1L << 40),
          BATCHES,
          4096,
          Duration.ofSeconds(15),
          Duration.ofMinutes(1),
          Duration.ofSeconds(1));

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if one is out of its range
   */
  public RelaySpec {
    Objects.requireNonNull(geometry, "geometry");
    if (Integer.bitCount(pageSizeBytes) != 1
        || pageSizeBytes < 1024
        || pageSizeBytes > geometry.payloadBytes()) {
      throw new IllegalArgumentException(
          "a page is a power of two from 1024 to a batch's %d bytes, but %d were asked for"
              .formatted(geometry.payloadBytes(), pageSizeBytes));
    }
    requireAtLeast("peerTimeout", peerTimeout, Duration.ofMillis(100));
    requireAtLeast("closeTimeout", closeTimeout, Duration.ofMillis(100));
    requireAtLeast("progressInterval", progressInterval, Duration.ofMillis(1));
  }

  private static void requireAtLeast(String what, Duration value, Duration least) {
    if (value.compareTo(least) < 0) {
      throw new IllegalArgumentException(what + " >= " + least + " required but it was " + value);
    }
  }

  /** {@return how many batches may be between the two connections of one relay} */
  public int slabs() {
    // Two for each worker, one that is being read, one that is being written.
    return 2 * workers() + 2;
  }

  /** {@return how many threads compress or decompress} */
  public int workers() {
    CompressionSpec compressed = compression;
    return compressed == null ? 1 : compressed.workers();
  }

  /** {@return a spec with another compression, or none} */
  public RelaySpec withCompression(@Nullable CompressionSpec newCompression) {
    return new RelaySpec(
        newCompression,
        adaptive,
        xbzrle,
        geometry,
        pageSizeBytes,
        peerTimeout,
        closeTimeout,
        progressInterval);
  }

  /**
   * {@return a spec that compresses only where the link has no room for pages as they are, or
   * always}
   */
  public RelaySpec withAdaptive(boolean newAdaptive) {
    return new RelaySpec(
        compression,
        newAdaptive,
        xbzrle,
        geometry,
        pageSizeBytes,
        peerTimeout,
        closeTimeout,
        progressInterval);
  }

  /** {@return a spec with another use of deltas, or none} */
  public RelaySpec withXbzrle(@Nullable XbzrleSpec newXbzrle) {
    return new RelaySpec(
        compression,
        adaptive,
        newXbzrle,
        geometry,
        pageSizeBytes,
        peerTimeout,
        closeTimeout,
        progressInterval);
  }

  /** {@return a spec with another limit to the other relay's silence} */
  public RelaySpec withPeerTimeout(Duration newPeerTimeout) {
    return new RelaySpec(
        compression,
        adaptive,
        xbzrle,
        geometry,
        pageSizeBytes,
        newPeerTimeout,
        closeTimeout,
        progressInterval);
  }

  /** {@return a spec with another limit to the destination's QEMU's last steps} */
  public RelaySpec withCloseTimeout(Duration newCloseTimeout) {
    return new RelaySpec(
        compression,
        adaptive,
        xbzrle,
        geometry,
        pageSizeBytes,
        peerTimeout,
        newCloseTimeout,
        progressInterval);
  }

  /** {@return a spec with another time between two reports of progress} */
  public RelaySpec withProgressInterval(Duration newProgressInterval) {
    return new RelaySpec(
        compression,
        adaptive,
        xbzrle,
        geometry,
        pageSizeBytes,
        peerTimeout,
        closeTimeout,
        newProgressInterval);
  }
}
