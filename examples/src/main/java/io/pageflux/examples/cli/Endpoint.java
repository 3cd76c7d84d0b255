package io.pageflux.examples.cli;

import io.pageflux.transport.tcp.SocketSpec;
import io.pageflux.transport.tcp.TcpSpec;
import io.pageflux.transport.tcp.UnixSpec;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import picocli.CommandLine.TypeConversionException;

/** Where to listen or connect. */
public sealed interface Endpoint {

  /** The host that is meant where none is given. */
  String LOOPBACK = "127.0.0.1";

  /** How the path of a Unix domain socket is told from a host. */
  String UNIX = "unix:";

  /** Port 0 of this host. */
  Endpoint ANY_PORT = new Tcp(LOOPBACK, 0);

  /** {@return it with default settings} */
  SocketSpec spec();

  /**
   * A TCP port.
   *
   * @param host a name or an address, without brackets
   * @param port 0 to 65535
   */
  record Tcp(String host, int port) implements Endpoint {
    @Override
    public SocketSpec spec() {
      return TcpSpec.of(host, port);
    }

    @Override
    public String toString() {
      return (host.indexOf(':') < 0 ? host : "[" + host + "]") + ":" + port;
    }
  }

  /**
   * A Unix domain socket.
   *
   * @param path of the socket
   */
  record Unix(Path path) implements Endpoint {
    @Override
    public SocketSpec spec() {
      return UnixSpec.of(path);
    }

    @Override
    public String toString() {
      return UNIX + path;
    }
  }

  /**
   * Reads {@code HOST:PORT}, {@code [IPV6]:PORT}, {@code :PORT}, {@code PORT} or {@code unix:PATH};
   * without a host the loopback address is meant.
   *
   * @throws TypeConversionException if the text is none of these
   */
  static Endpoint parse(String text) {
    String trimmed = text.strip();
    return trimmed.startsWith(UNIX) ? unix(text, trimmed.substring(UNIX.length())) : tcp(trimmed);
  }

  private static Endpoint unix(String text, String path) {
    try {
      Unix unix = new Unix(Path.of(path));
      unix.spec(); // checks it
      return unix;
    } catch (InvalidPathException e) {
      throw new TypeConversionException("'%s' is no path: %s".formatted(text, e.getReason()));
    } catch (IllegalArgumentException e) {
      throw new TypeConversionException("'%s': %s".formatted(text, e.getMessage()));
    }
  }

  private static Endpoint tcp(String text) {
    int colon = text.lastIndexOf(':');
    String host = colon < 0 ? "" : text.substring(0, colon);
    String port = text.substring(colon + 1);
    if (host.startsWith("[") && host.endsWith("]")) {
      host = host.substring(1, host.length() - 1);
      if (host.indexOf(':') < 0) {
        throw invalid(text, "only IPv6 addresses are written in brackets");
      }
    } else if (host.indexOf(':') >= 0) {
      throw invalid(text, "write an IPv6 address in brackets, as in [::1]:4444");
    } else if (host.chars().anyMatch(c -> c <= ' ' || c == '[' || c == ']' || c == '/')) {
      throw invalid(text, "the host is not a name or an address");
    }
    return new Tcp(host.isEmpty() ? LOOPBACK : host, port(text, port));
  }

  private static int port(String text, String port) {
    if (!port.matches("[0-9]{1,5}") || Integer.parseInt(port) > 65535) {
      throw invalid(text, "the port is a number up to 65535");
    }
    return Integer.parseInt(port);
  }

  private static TypeConversionException invalid(String text, String reason) {
    return new TypeConversionException(
        "'%s' is not HOST:PORT (or PORT, for loopback) or unix:PATH: %s".formatted(text, reason));
  }
}
