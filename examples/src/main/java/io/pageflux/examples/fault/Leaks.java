package io.pageflux.examples.fault;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * What runs leave behind in this process: threads, and descriptors of any kind. Made before a run,
 * and after another one, so that what a process makes once has been made.
 */
final class Leaks {

  /** What is closed a moment after a migration has ended gets this long. */
  private static final Duration PATIENCE = Duration.ofSeconds(10);

  /** What the JVM opens when it first needs it, and keeps. */
  private static final Pattern OF_THE_JVM =
      Pattern.compile("/dev/.*|.*\\.jar|.*\\.so(\\.\\d+)*|.*/lib/modules|/proc/\\d+/fd");

  private static final Pattern SOCKET = Pattern.compile("socket:\\[(\\d+)]");

  private final boolean hasChildren;
  private final Map<String, Integer> before;

  /**
   * @param hasChildren whether this process starts others, the pipes to which come and go
   */
  Leaks(boolean hasChildren) {
    this.hasChildren = hasChildren;
    this.before = descriptors();
  }

  /** Waits for everything to go. {@return what does not, or nothing} */
  String find() {
    long end = System.nanoTime() + PATIENCE.toNanos();
    while (true) {
      List<String> threads = threads();
      List<String> opened = opened();
      if (threads.isEmpty() && opened.isEmpty()) {
        return "";
      }
      if (System.nanoTime() - end > 0) {
        return "threads %s, descriptors %s"
            .formatted(threads, opened.stream().map(Leaks::describe).toList());
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

  private List<String> opened() {
    List<String> found = new ArrayList<>();
    descriptors()
        .forEach(
            (target, count) -> {
              for (int i = before.getOrDefault(target, 0); i < count; i++) {
                found.add(target);
              }
            });
    return found;
  }

  private Map<String, Integer> descriptors() {
    Map<String, Integer> found = new HashMap<>();
    try (Stream<Path> open = Files.list(Path.of("/proc/self/fd"))) {
      for (Path fd : open.toList()) {
        String target = target(fd);
        if (!target.isEmpty()
            && !OF_THE_JVM.matcher(target).matches()
            && !(hasChildren && target.startsWith("pipe:"))) {
          found.merge(target, 1, Integer::sum);
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

  /** {@return a descriptor with what the kernel says of it, if it is a socket} */
  private static String describe(String target) {
    Matcher socket = SOCKET.matcher(target);
    if (!socket.matches()) {
      return target;
    }
    Pattern inode = Pattern.compile(".*\\s" + socket.group(1) + "(\\s.*|$)");
    for (String kind : List.of("tcp", "tcp6", "unix")) {
      try (Stream<String> lines = Files.lines(Path.of("/proc/self/net", kind))) {
        String line = lines.filter(text -> inode.matcher(text).matches()).findFirst().orElse("");
        if (!line.isEmpty()) {
          return "%s (%s: %s)".formatted(target, kind, line.strip());
        }
      } catch (IOException e) {
        // There is no such kind on this machine.
      }
    }
    return target + " (neither connected nor bound)";
  }
}
