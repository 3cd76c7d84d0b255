package io.pageflux.examples.fault;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;

/** What migrations leave behind in this process: threads, and descriptors of theirs. */
final class Leaks {

  /** What is closed a moment after a migration has ended gets this long. */
  private static final Duration PATIENCE = Duration.ofSeconds(10);

  private static final List<String> OF_MIGRATIONS =
      List.of(
          "pageflux-scan",
          "pageflux-compress",
          "pageflux-decompress",
          "pageflux-connect",
          "pageflux-accept");

  private final long before = descriptors().size();

  /**
   * Waits for everything to go. {@return what does not, or nothing}
   *
   * @param guestRuns whether a guest may go on running
   */
  String find(boolean guestRuns) {
    long end = System.nanoTime() + PATIENCE.toNanos();
    while (true) {
      List<String> threads = threads(guestRuns);
      List<String> open = descriptors();
      if (threads.isEmpty() && open.size() <= before) {
        return "";
      }
      if (System.nanoTime() - end > 0) {
        return threads + (open.size() <= before ? "" : ", descriptors " + open);
      }
      LockSupport.parkNanos(5_000_000);
    }
  }

  private static List<String> threads(boolean guestRuns) {
    return Thread.getAllStackTraces().keySet().stream()
        .map(Thread::getName)
        .filter(
            name ->
                OF_MIGRATIONS.stream().anyMatch(name::startsWith)
                    || !guestRuns && name.startsWith("kv-updater-"))
        .toList();
  }

  private static List<String> descriptors() {
    List<String> found = new ArrayList<>();
    try (Stream<Path> open = Files.list(Path.of("/proc/self/fd"))) {
      for (Path fd : open.toList()) {
        String target = target(fd);
        if (target.startsWith("socket:")
            || target.contains("memfd")
            || target.contains("userfaultfd")
            || target.contains("eventpoll")) {
          found.add(target);
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return found;
  }

  private static String target(Path fd) {
    try {
      return Files.readSymbolicLink(fd).toString();
    } catch (IOException e) {
      return ""; // closed meanwhile
    }
  }
}
