package io.pageflux.wire;

import io.pageflux.MigrationException;

/**
 * Which record of a stream is being read, for messages.
 *
 * @param type the name of its type, or what else it is
 * @param sequence its number in the stream
 * @param offset where it begins in the stream, in bytes
 */
record Place(String type, long sequence, long offset) {

  /** The error that something is wrong at a byte of the stream. */
  MigrationException error(MigrationException.Kind kind, long at, String what) {
    return MigrationException.of(
        kind,
        "%s (at byte %d of the stream, in %s record %d from byte %d)"
            .formatted(Texts.printable(what), at, type, sequence, offset));
  }
}
