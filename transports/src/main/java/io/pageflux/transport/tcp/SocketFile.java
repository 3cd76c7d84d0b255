package io.pageflux.transport.tcp;

import io.netty.channel.unix.DomainSocketAddress;
import io.netty.channel.unix.Socket;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Objects;
import java.util.concurrent.ThreadLocalRandom;
import org.jspecify.annotations.Nullable;

/**
 * The file of a socket that is listened on: how it gets to its path, and goes from there.
 *
 * <p>The socket is bound under a name that nobody knows, gets its permissions, and is linked to its
 * path. So there is no moment at which somebody may connect who is not to; a file that is already
 * there is never overwritten; and Netty, which at the close removes whatever lies at the path that
 * it has bound, finds nothing.
 */
final class SocketFile {

  /** At the least, so that the names of several who listen at once differ. */
  private static final int MIN_NAME_CHARS = 4;

  private static final int MAX_NAME_CHARS = 12;

  /** How often a file that nobody listens on may come back before that is an error. */
  private static final int ATTEMPTS = 8;

  private static final int FILE_TYPE = 0170000;
  private static final int SOCKET = 0140000;

  private final Path path;
  private final Object inode;

  private SocketFile(Path path, Object inode) {
    this.path = path;
    this.inode = inode;
  }

  /** {@return a name beside the path, to bind the socket to} */
  static Path unpublished(UnixSpec spec) {
    int directoryBytes = UnixSpec.bytes(spec.path().resolveSibling("x")) - 1;
    int chars = Math.min(MAX_NAME_CHARS, UnixSpec.MAX_PATH_BYTES - directoryBytes);
    if (chars < MIN_NAME_CHARS) {
      throw UnixFailures.listening(
          spec, "the path is too long to listen on; choose a directory with a shorter one", null);
    }
    long random = ThreadLocalRandom.current().nextLong(Long.MAX_VALUE);
    String name = "0".repeat(MAX_NAME_CHARS) + Long.toString(random, 36);
    return spec.path().resolveSibling("." + name.substring(name.length() - chars + 1));
  }

  /**
   * Moves a bound socket to the path of the spec, in the place of one that nobody listens on.
   *
   * @throws io.pageflux.MigrationException if another file is there, or a socket that somebody
   *     listens on
   */
  static SocketFile publish(Path bound, UnixSpec spec) throws IOException {
    try {
      Files.setPosixFilePermissions(bound, spec.permissions());
      for (int i = 0; i < ATTEMPTS; i++) {
        try {
          Files.createLink(spec.path(), bound);
          return new SocketFile(spec.path(), Objects.requireNonNull(inode(bound)));
        } catch (FileAlreadyExistsException e) {
          removeStale(spec);
        }
      }
      throw UnixFailures.listening(
          spec, "another program makes a file there again and again; choose another path", null);
    } finally {
      Files.deleteIfExists(bound);
    }
  }

  /**
   * Removes the file, unless it has been replaced by another one. To be called before the close.
   */
  void remove() {
    try {
      // As long as the socket is open, no other file has its inode.
      if (inode.equals(inode(path))) {
        Files.deleteIfExists(path);
      }
    } catch (IOException e) {
      // It stays, and whoever listens there next replaces it.
    }
  }

  private static void removeStale(UnixSpec spec) throws IOException {
    Object before = inode(spec.path());
    if (before == null) {
      return;
    }
    if (isOtherThanSocket(spec.path())) {
      throw UnixFailures.listening(
          spec,
          "there is a file that is not a socket, which is left alone; choose another path, or"
              + " remove it",
          null);
    }
    if (isUsed(spec)) {
      throw UnixFailures.listening(
          spec,
          "another program listens there; stop the program that does, or choose another path",
          null);
    }
    // Somebody else may have replaced it by now.
    if (before.equals(inode(spec.path()))) {
      Files.deleteIfExists(spec.path());
    }
  }

  /**
   * {@return whether a socket of some process belongs to a socket file} Asked with a datagram
   * socket, which the kernel refuses in another way if there is a stream socket: so whoever listens
   * notices nothing. (A QEMU that waits for a migration would take any connection for it.)
   */
  private static boolean isUsed(UnixSpec spec) throws IOException {
    Socket probe = Socket.newSocketDomainDgram();
    try {
      probe.connect(new DomainSocketAddress(spec.path().toString()));
      return true;
    } catch (FileNotFoundException e) {
      return false; // It has just gone.
    } catch (IOException e) {
      String text = TcpFailures.text(e);
      if (text.contains("permission denied")) {
        throw UnixFailures.listening(
            spec,
            "there is a socket of another user; choose another path, or have it removed if nobody"
                + " listens on it",
            e);
      }
      return !text.contains("refused") && !text.contains("no such file");
    } finally {
      probe.close();
    }
  }

  /** {@return whether there is something else than a socket, such as a link} */
  static boolean isOtherThanSocket(Path path) {
    try {
      Object mode = Files.getAttribute(path, "unix:mode", LinkOption.NOFOLLOW_LINKS);
      return ((Integer) mode & FILE_TYPE) != SOCKET;
    } catch (IOException e) {
      return false;
    }
  }

  private static @Nullable Object inode(Path path) throws IOException {
    try {
      return Files.readAttributes(path, BasicFileAttributes.class, LinkOption.NOFOLLOW_LINKS)
          .fileKey();
    } catch (NoSuchFileException e) {
      return null;
    }
  }
}
