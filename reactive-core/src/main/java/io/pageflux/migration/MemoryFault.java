package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.MigrationText;

/**
 * What a guest's memory does that cannot be had: a page of a mapped file for which there is no
 * room, or which somebody has cut off. The JVM says so with an {@link InternalError}, at about the
 * place where it happens.
 */
final class MemoryFault {

  private MemoryFault() {}

  /** {@return what was thrown while memory was written, said so that people know what to do} */
  static Throwable written(Throwable e) {
    return e instanceof InternalError fault ? of("written", fault) : e;
  }

  /** {@return what was thrown while memory was read, said so that people know what to do} */
  static Throwable read(Throwable e) {
    return e instanceof InternalError fault ? of("read", fault) : e;
  }

  private static MigrationException of(String what, InternalError e) {
    return MigrationException.of(
        Kind.INTERNAL,
        "the guest's memory could not be %s: if it is a file, see whether its disk is full or"
                .formatted(what)
            + " somebody has shortened it (%s)".formatted(MigrationText.of(e)),
        e);
  }
}
