package io.pageflux.transport.tcp;

import io.netty.channel.ConnectTimeoutException;
import io.pageflux.MigrationException;
import java.io.IOException;
import java.net.BindException;
import java.net.ConnectException;
import java.net.InetSocketAddress;
import java.net.NoRouteToHostException;
import java.net.SocketAddress;
import java.net.UnknownHostException;
import java.nio.channels.ClosedChannelException;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import reactor.netty.ChannelBindException;

/**
 * What the network's errors mean to somebody who reads the message only: where, what, and what to
 * do about it.
 *
 * <p>NIO, epoll and reactor-netty have different classes for the same error; where the class does
 * not tell, the system's text does, which is the same in all of them.
 */
final class TcpFailures {

  private TcpFailures() {}

  /** A host and a port, an IPv6 address in brackets. */
  static String address(String host, int port) {
    return host.indexOf(':') >= 0 ? "[" + host + "]:" + port : host + ":" + port;
  }

  static String address(@Nullable SocketAddress address) {
    if (address instanceof InetSocketAddress inet) {
      // Never a name: looking it up would block.
      return inet.isUnresolved()
          ? address(inet.getHostString(), inet.getPort())
          : address(inet.getAddress().getHostAddress(), inet.getPort());
    }
    return String.valueOf(address);
  }

  static MigrationException unknownHost(String host, UnknownHostException cause) {
    return transport(
        "the host name "
            + host
            + " is unknown: no address was found for it; check the spelling and the name service,"
            + " or give an address",
        cause);
  }

  static Throwable connecting(TcpSpec spec, Throwable cause) {
    if (cause instanceof MigrationException) {
      return cause;
    }
    String text = text(cause);
    String why;
    if (cause instanceof ConnectTimeoutException || text.contains("timed out")) {
      why =
          "no answer within %.1f s; check the address, and whether a firewall drops what is sent"
                  .formatted(spec.connectTimeout().toMillis() / 1000.0)
              + " to the port";
    } else if (text.contains("refused")) {
      why =
          "the connection was refused; check the port, and whether the destination has been started"
              + " and listens on this address";
    } else if (cause instanceof NoRouteToHostException
        || text.contains("no route")
        || text.contains("unreachable")) {
      why = "the host cannot be reached from here; check the address and the routes to it";
    } else if (cause instanceof ConnectException || cause instanceof IOException) {
      why = reason(cause);
    } else {
      return cause;
    }
    return transport("cannot connect to " + spec.address() + ": " + why, cause);
  }

  static Throwable binding(TcpSpec spec, Throwable cause) {
    if (cause instanceof MigrationException) {
      return cause;
    }
    String text = text(cause);
    String why;
    if (text.contains("in use")) {
      why =
          "another socket listens on this port; stop the program that does, choose another port, or"
              + " port 0 for any that is free";
    } else if (text.contains("cannot assign")) {
      why = "that is not an address of this machine; give one that is, or 0.0.0.0 for all of them";
    } else if (text.contains("permission denied")) {
      why = "this user may not; choose a port above 1023";
    } else if (cause instanceof BindException
        || cause instanceof ChannelBindException
        || cause instanceof IOException) {
      why = reason(cause);
    } else {
      return cause;
    }
    return transport("cannot listen on " + spec.address() + ": " + why, cause);
  }

  /** A connection that broke while something was being done with it. */
  static MigrationException broken(String peer, String doing, Throwable cause) {
    String text = text(cause);
    String why;
    if (cause instanceof ClosedChannelException) {
      return transport("the connection to " + peer + " was closed while " + doing, cause);
    } else if (text.contains("reset") || text.contains("broken pipe")) {
      why =
          "it was reset by the other side, which has ended or closed it with data on the way; the"
              + " other side's log may say why";
    } else if (text.contains("timed out")) {
      why = "the other side does not answer any more; check that it runs, and the network";
    } else {
      why = reason(cause);
    }
    return transport("the connection to " + peer + " was lost while " + doing + ": " + why, cause);
  }

  /** What the causes say together, in lower case. */
  static String text(Throwable failure) {
    StringBuilder text = new StringBuilder();
    int depth = 0;
    for (Throwable t = failure; t != null && depth < 8; t = t.getCause(), depth++) {
      text.append(t.getMessage()).append('\n');
    }
    return text.toString().toLowerCase(Locale.ROOT);
  }

  static String reason(Throwable cause) {
    String message = cause.getMessage();
    return message == null || message.isBlank() ? cause.getClass().getSimpleName() : message;
  }

  private static MigrationException transport(String message, Throwable cause) {
    return MigrationException.of(MigrationException.Kind.TRANSPORT, message, cause);
  }
}
