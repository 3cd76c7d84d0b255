package io.pageflux.qemu.qmp;

import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.UnixDomainSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;

/** Where a QMP server listens, as it is written on a command line. */
public sealed interface QmpAddress {

  /** The longest path that Linux takes for the address of a Unix domain socket, in bytes. */
  int MAX_UNIX_PATH_BYTES = 107;

  /** A Unix domain socket: QEMU's {@code -qmp unix:PATH,server=on,wait=off}. */
  record Unix(Path path) implements QmpAddress {

    /**
     * Checks the path.
     *
     * @throws IllegalArgumentException if it is longer than a socket's address may be
     */
    public Unix {
      int bytes = path.toString().getBytes(StandardCharsets.UTF_8).length;
      if (bytes == 0 || bytes > MAX_UNIX_PATH_BYTES) {
        throw new IllegalArgumentException(
            "the path of a Unix domain socket has 1 to %d bytes, but %s has %d; use a shorter one"
                .formatted(MAX_UNIX_PATH_BYTES, path, bytes));
      }
    }

    @Override
    public SocketAddress socketAddress() {
      return UnixDomainSocketAddress.of(path);
    }

    @Override
    public String toString() {
      return "unix:" + path;
    }
  }

  /** A TCP port: QEMU's {@code -qmp tcp:HOST:PORT,server=on,wait=off}. */
  record Tcp(String host, int port) implements QmpAddress {

    /**
     * Checks the port.
     *
     * @throws IllegalArgumentException if it is out of range, or the host is empty
     */
    public Tcp {
      if (host.isBlank()) {
        throw new IllegalArgumentException("a host is required before the port " + port);
      }
      if (port < 1 || port > 65535) {
        throw new IllegalArgumentException("a port is 1 to 65535 but it was " + port);
      }
    }

    /** {@inheritDoc} A name is not looked up yet. */
    @Override
    public SocketAddress socketAddress() {
      return InetSocketAddress.createUnresolved(host, port);
    }

    @Override
    public String toString() {
      return host.indexOf(':') >= 0 ? "[" + host + "]:" + port : host + ":" + port;
    }
  }

  /** {@return the address as a socket takes it} */
  SocketAddress socketAddress();

  /**
   * Reads an address.
   *
   * @param text {@code unix:PATH} or {@code HOST:PORT}; {@code tcp:HOST:PORT} is taken too, and an
   *     IPv6 address is put in brackets
   * @throws IllegalArgumentException if it is neither
   */
  static QmpAddress parse(String text) {
    if (text.startsWith("unix:")) {
      try {
        return new Unix(Path.of(text.substring("unix:".length())));
      } catch (InvalidPathException e) {
        throw new IllegalArgumentException("no path can be " + text + ": " + e.getMessage(), e);
      }
    }
    String tcp = text.startsWith("tcp:") ? text.substring("tcp:".length()) : text;
    int colon = tcp.lastIndexOf(':');
    if (colon < 1) {
      throw new IllegalArgumentException(
          "a QMP address is unix:PATH or HOST:PORT, but it was \"%s\"".formatted(text));
    }
    String host = tcp.substring(0, colon);
    if (host.startsWith("[") && host.endsWith("]")) {
      host = host.substring(1, host.length() - 1);
    }
    try {
      return new Tcp(host, Integer.parseInt(tcp.substring(colon + 1)));
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException(
          "a QMP address is unix:PATH or HOST:PORT, but \"%s\" ends with no port".formatted(text),
          e);
    }
  }
}
