package io.pageflux.transport.tcp;

import java.time.Duration;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import reactor.netty.resources.LoopResources;

/**
 * Where and how to connect or to listen. Immutable: each {@code with} method returns a changed
 * copy.
 *
 * <p>{@code TCP_NODELAY} and {@code SO_KEEPALIVE} are always on: buffers are large, and those that
 * are not (acknowledgements) must not wait; a peer that vanished is found out in the end.
 *
 * @param host a name or an address. To listen on all addresses, {@code 0.0.0.0}
 * @param port 0 to 65,535; 0 is for listening only, and takes a free port
 * @param connectTimeout how long one address may take to answer, more than zero
 * @param nativeTransport whether epoll is used where it is available; NIO else
 * @param eventLoops how many threads serve the connections of one connector or acceptor, 1 to 64;
 *     without meaning if {@code loopResources} are given
 * @param loopResources threads of the caller's, which are not disposed; null for own ones, which
 *     live while there is a connection or somebody listens
 * @param sendBufferBytes {@code SO_SNDBUF}, or 0 to let the kernel adapt it, which is mostly better
 * @param receiveBufferBytes {@code SO_RCVBUF}, or 0 to let the kernel adapt it, which is mostly
 *     better
 * @param readBytes how much one read takes at the most, 4 KiB to 4 MiB: the size of received
 *     buffers
 */
public record TcpSpec(
    String host,
    int port,
    Duration connectTimeout,
    boolean nativeTransport,
    int eventLoops,
    @Nullable LoopResources loopResources,
    int sendBufferBytes,
    int receiveBufferBytes,
    int readBytes)
    implements SocketSpec {

  /** The address that specs without another one use: nobody else can reach it. */
  public static final String LOOPBACK = "127.0.0.1";

  private static final Duration CONNECT_TIMEOUT = Duration.ofSeconds(10);
  private static final int EVENT_LOOPS = 2;
  private static final int READ_BYTES = 128 << 10;

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if one is out of its range
   */
  public TcpSpec {
    Objects.requireNonNull(host, "host");
    Objects.requireNonNull(connectTimeout, "connectTimeout");
    if (host.isBlank()) {
      throw new IllegalArgumentException("a host name or address is required, but it was blank");
    }
    requireRange("port", port, 0, 65_535);
    if (connectTimeout.isNegative()
        || connectTimeout.isZero()
        || connectTimeout.compareTo(Duration.ofHours(1)) > 0) {
      throw new IllegalArgumentException(
          "connectTimeout must be more than zero and at most an hour, but it was "
              + connectTimeout);
    }
    requireRange("eventLoops", eventLoops, 1, 64);
    requireRange("sendBufferBytes", sendBufferBytes, 0, 1 << 30);
    requireRange("receiveBufferBytes", receiveBufferBytes, 0, 1 << 30);
    requireRange("readBytes", readBytes, 4 << 10, 4 << 20);
  }

  static void requireRange(String what, int value, int least, int most) {
    if (value < least || value > most) {
      throw new IllegalArgumentException(
          what + " must be " + least + " to " + most + ", but it was " + value);
    }
  }

  /** A spec with default settings. */
  public static TcpSpec of(String host, int port) {
    return new TcpSpec(host, port, CONNECT_TIMEOUT, true, EVENT_LOOPS, null, 0, 0, READ_BYTES);
  }

  /** A spec with default settings, for this machine only. */
  public static TcpSpec loopback(int port) {
    return of(LOOPBACK, port);
  }

  /** {@return a spec with another host} */
  public TcpSpec withHost(String newHost) {
    return new TcpSpec(
        newHost,
        port,
        connectTimeout,
        nativeTransport,
        eventLoops,
        loopResources,
        sendBufferBytes,
        receiveBufferBytes,
        readBytes);
  }

  /** {@return a spec with another port} */
  public TcpSpec withPort(int newPort) {
    return new TcpSpec(
        host,
        newPort,
        connectTimeout,
        nativeTransport,
        eventLoops,
        loopResources,
        sendBufferBytes,
        receiveBufferBytes,
        readBytes);
  }

  /** {@return a spec with another time that one address may take to answer} */
  public TcpSpec withConnectTimeout(Duration newConnectTimeout) {
    return new TcpSpec(
        host,
        port,
        newConnectTimeout,
        nativeTransport,
        eventLoops,
        loopResources,
        sendBufferBytes,
        receiveBufferBytes,
        readBytes);
  }

  /** {@return a spec that uses epoll where it is available, or never} */
  public TcpSpec withNativeTransport(boolean newNativeTransport) {
    return new TcpSpec(
        host,
        port,
        connectTimeout,
        newNativeTransport,
        eventLoops,
        loopResources,
        sendBufferBytes,
        receiveBufferBytes,
        readBytes);
  }

  /** {@return a spec with another number of own threads} */
  public TcpSpec withEventLoops(int newEventLoops) {
    return new TcpSpec(
        host,
        port,
        connectTimeout,
        nativeTransport,
        newEventLoops,
        loopResources,
        sendBufferBytes,
        receiveBufferBytes,
        readBytes);
  }

  /** {@return a spec that uses threads of the caller's, or own ones again if null} */
  public TcpSpec withLoopResources(@Nullable LoopResources newLoopResources) {
    return new TcpSpec(
        host,
        port,
        connectTimeout,
        nativeTransport,
        eventLoops,
        newLoopResources,
        sendBufferBytes,
        receiveBufferBytes,
        readBytes);
  }

  /** {@inheritDoc} */
  @Override
  public TcpSpec withSocketBuffers(int newSendBufferBytes, int newReceiveBufferBytes) {
    return new TcpSpec(
        host,
        port,
        connectTimeout,
        nativeTransport,
        eventLoops,
        loopResources,
        newSendBufferBytes,
        newReceiveBufferBytes,
        readBytes);
  }

  /** {@return a spec with another size of one read} */
  public TcpSpec withReadBytes(int newReadBytes) {
    return new TcpSpec(
        host,
        port,
        connectTimeout,
        nativeTransport,
        eventLoops,
        loopResources,
        sendBufferBytes,
        receiveBufferBytes,
        newReadBytes);
  }

  @Override
  public String address() {
    return TcpFailures.address(host, port);
  }
}
