package io.pageflux.qemu.capture;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import java.io.IOException;
import java.nio.file.FileStore;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * How much room the disk has. Images are mapped, and to write where the disk has no room for a
 * mapping is no error that can be handled, but a signal; so room is looked for beforehand.
 *
 * <p><b>Threading:</b> for one thread at a time.
 */
final class DiskSpace {

  /** What has to stay free: more than what is written between two looks, and all others write. */
  private static final long RESERVE_BYTES = 48L << 20;

  private static final long BYTES_BETWEEN_LOOKS = 16L << 20;

  private final Path directory;
  private final FileStore store;
  private long left;

  DiskSpace(Path directory) throws IOException {
    this.directory = directory;
    this.store = Files.getFileStore(directory);
  }

  /** Fails unless so many bytes would fit. */
  void require(long bytes, String what) throws IOException {
    long usable = store.getUsableSpace();
    if (bytes > usable) {
      throw MigrationException.of(
          Kind.LAYOUT,
          "%s may take %d bytes, but %s has room for %d: choose a directory on a larger disk"
              .formatted(what, bytes, directory, usable));
    }
  }

  /** Says that so many bytes are about to be written, at most a few MiB. */
  void use(long bytes) throws IOException {
    left -= bytes;
    if (left < 0) {
      long usable = store.getUsableSpace();
      if (usable < RESERVE_BYTES) {
        throw MigrationException.of(
            Kind.INTERNAL,
            "the disk is full: %s has room for %d bytes, and %d are to stay free"
                .formatted(directory, usable, RESERVE_BYTES));
      }
      left = BYTES_BETWEEN_LOOKS;
    }
  }
}
