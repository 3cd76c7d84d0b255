package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/** What a migration must not leave behind. */
public final class Leftovers {

  private Leftovers() {}

  /** Waits for threads of migrations to end; fails if one does not. */
  public static void assertNoThreads() {
    for (Thread thread : Thread.getAllStackTraces().keySet()) {
      if (thread.getName().startsWith("pageflux-")) {
        try {
          thread.join(5_000);
        } catch (InterruptedException e) {
          throw new IllegalStateException(e);
        }
        assertThat(thread.isAlive()).as(thread + " is left").isFalse();
      }
    }
  }

  /** How many descriptors are open whose target's name has a text in it. */
  static long descriptors(String name) {
    try (Stream<Path> open = Files.list(Path.of("/proc/self/fd"))) {
      return open.filter(fd -> target(fd).contains(name)).count();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static String target(Path fd) {
    try {
      return Files.readSymbolicLink(fd).toString();
    } catch (IOException e) {
      return ""; // closed meanwhile
    }
  }

  /** The process's address space in bytes. */
  static long addressSpaceBytes() {
    try {
      return Long.parseLong(Files.readString(Path.of("/proc/self/statm")).split(" ")[0]) * 4096;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
