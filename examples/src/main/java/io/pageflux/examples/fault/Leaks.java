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

/**
 * What runs leave behind in this process: threads, and descriptors. Made before a run, and after
 * another one, so that what a process makes once has been made.
 */
final class Leaks {

  /** What is closed a moment after a migration has ended gets this long. */
  private static final Duration PATIENCE = Duration.ofSeconds(10);

  private final long before = descriptors().size();

  /** Waits for everything to go. {@return what does not, or nothing} */
  String find() {
    long end = System.nanoTime() + PATIENCE.toNanos();
    while (true) {
      List<String> threads = threads();
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

  private static List<String> threads() {
    return Thread.getAllStackTraces().keySet().stream()
        .map(Thread::getName)
        .filter(name -> !name.equals("pageflux-interrupt"))
        .filter(name -> name.startsWith("pageflux-") || name.startsWith("kv-updater-"))
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
