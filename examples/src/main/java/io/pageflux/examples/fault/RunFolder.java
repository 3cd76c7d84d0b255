package io.pageflux.examples.fault;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;

/** A folder of a run's own, in which nothing may be left but its lock, and notes. */
record RunFolder(Path path) implements AutoCloseable {

  /** The name of the file that a guest that runs has locked. */
  static final String LOCK = "lock";

  static RunFolder make() {
    try {
      // Short, for a socket's name.
      RunFolder made = new RunFolder(Files.createTempDirectory("pf"));
      Files.createDirectory(made.disk());
      return made;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  Path lock() {
    return path.resolve(LOCK);
  }

  Path disk() {
    return path.resolve(PartyProcess.SMALL_DISK);
  }

  /**
   * {@return what is left in it that should not be}
   *
   * @param killed whether a process was killed: the socket on which it listened stays, and nobody
   *     can help that
   */
  List<String> left(boolean killed) {
    try (Stream<Path> files = Files.walk(path)) {
      return files
          .filter(file -> !file.equals(path) && !file.equals(lock()) && !file.equals(disk()))
          .filter(file -> !CheckpointNotes.isFile(file.getFileName().toString()))
          .filter(file -> !(killed && isSocket(file)))
          .map(file -> path.relativize(file).toString())
          .toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** It is the one kind of file that is none of the kinds that Java knows. */
  private static boolean isSocket(Path file) {
    try {
      return Files.readAttributes(file, BasicFileAttributes.class, LinkOption.NOFOLLOW_LINKS)
          .isOther();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public void close() {
    try (Stream<Path> files = Files.walk(path)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
