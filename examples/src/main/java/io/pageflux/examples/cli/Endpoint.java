package io.pageflux.examples.cli;

import picocli.CommandLine.TypeConversionException;

/**
 * Where to listen or connect.
 *
 * @param host a name or an address, without brackets
 * @param port 0 to 65535
 */
public record Endpoint(String host, int port) {

  /** The host that is meant where none is given. */
  public static final String LOOPBACK = "127.0.0.1";

  /**
   * Reads {@code HOST:PORT}, {@code [IPV6]:PORT}, {@code :PORT} or {@code PORT}; the latter two
   * mean the loopback address.
   *
   * @throws TypeConversionException if the text is none of these
   */
  public static Endpoint parse(String text) {
    String trimmed = text.strip();
    int colon = trimmed.lastIndexOf(':');
    String host = colon < 0 ? "" : trimmed.substring(0, colon);
    String port = trimmed.substring(colon + 1);
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
    return new Endpoint(host.isEmpty() ? LOOPBACK : host, port(text, port));
  }

  private static int port(String text, String port) {
    if (!port.matches("[0-9]{1,5}") || Integer.parseInt(port) > 65535) {
      throw invalid(text, "the port is a number up to 65535");
    }
    return Integer.parseInt(port);
  }

  private static TypeConversionException invalid(String text, String reason) {
    return new TypeConversionException(
        "'%s' is not HOST:PORT (or PORT, for loopback): %s".formatted(text, reason));
  }

  @Override
  public String toString() {
    return (host.indexOf(':') < 0 ? host : "[" + host + "]") + ":" + port;
  }
}
