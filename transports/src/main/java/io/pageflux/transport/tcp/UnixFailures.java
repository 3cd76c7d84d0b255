package io.pageflux.transport.tcp;

import io.pageflux.MigrationException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import org.jspecify.annotations.Nullable;
import reactor.netty.ChannelBindException;
import reactor.netty.resources.LoopResources;

/** What the errors of Unix domain sockets mean, and what to do about them. */
final class UnixFailures {

  private UnixFailures() {}

  /** Fails where Netty has no native transport, without which there are no domain sockets. */
  static void requireNative(SocketSpec spec) {
    requireNative(spec, LoopResources.hasNativeSupport());
  }

  static void requireNative(SocketSpec spec, boolean hasNative) {
    if (!hasNative) {
      throw transport(
          "cannot use "
              + spec.address()
              + ": Netty's epoll library is missing, without which there are no Unix domain"
              + " sockets; add netty-transport-native-epoll for this system (on the module path"
              + " also --add-modules io.netty.transport.classes.epoll), or use HOST:PORT",
          null);
    }
  }

  static Throwable connecting(UnixSpec spec, Throwable cause) {
    if (cause instanceof MigrationException) {
      return cause;
    }
    String text = TcpFailures.text(cause);
    String why;
    // Netty has this class, without a text, for a connection to nowhere.
    if (cause instanceof FileNotFoundException || text.contains("no such file")) {
      why =
          "there is no such file; check the path, and whether the destination has been started and"
              + " listens there";
    } else if (text.contains("not a directory")) {
      why = "a part of the path is not a directory; check the path";
    } else if (text.contains("refused")) {
      why =
          SocketFile.isOtherThanSocket(spec.path())
              ? "that is not a socket; check the path"
              : "nobody listens there: the program that did has ended; start the destination again";
    } else if (text.contains("permission denied")) {
      why =
          "this user may not; run as the user that listens, or have the socket file and its"
              + " directory permit it";
    } else if (text.contains("temporarily unavailable")) {
      why = "too many connections wait there; check whether the program that listens hangs";
    } else if (text.contains("wrong type")) {
      why = "that is a socket for datagrams; check the path";
    } else if (cause instanceof IOException) {
      why = TcpFailures.reason(cause);
    } else {
      return cause;
    }
    return transport("cannot connect to " + spec.address() + ": " + why, cause);
  }

  static Throwable binding(UnixSpec spec, Throwable cause) {
    if (cause instanceof MigrationException) {
      return cause;
    }
    String text = TcpFailures.text(cause);
    String why;
    if (text.contains("no such file")) {
      why = "its directory does not exist; make it, or choose another path";
    } else if (text.contains("not a directory")) {
      why = "a part of the path is not a directory; choose another path";
    } else if (text.contains("permission denied") || cause instanceof AccessDeniedException) {
      why = "this user may not write in its directory; choose another one";
    } else if (text.contains("read-only")) {
      why = "its file system is read-only; choose another directory";
    } else if (cause instanceof FileSystemException e && e.getReason() != null) {
      why = e.getReason();
    } else if (cause instanceof ChannelBindException || cause instanceof IOException) {
      why = TcpFailures.reason(cause);
    } else {
      return cause;
    }
    return listening(spec, why, cause);
  }

  static MigrationException listening(UnixSpec spec, String why, @Nullable Throwable cause) {
    return transport("cannot listen on " + spec.address() + ": " + why, cause);
  }

  private static MigrationException transport(String message, @Nullable Throwable cause) {
    return cause == null
        ? MigrationException.of(MigrationException.Kind.TRANSPORT, message)
        : MigrationException.of(MigrationException.Kind.TRANSPORT, message, cause);
  }
}
