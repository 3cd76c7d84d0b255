package io.pageflux.transport.tcp;

import org.jspecify.annotations.Nullable;
import reactor.netty.resources.LoopResources;

/**
 * Where and how to connect or to listen: over TCP, or at a Unix domain socket. {@link
 * SocketTransport} takes either.
 */
public sealed interface SocketSpec permits TcpSpec, UnixSpec {

  /** {@return where, for messages: host and port, or {@code unix:} and the path} */
  String address();

  /** {@return how many own threads serve the connections of one connector or acceptor} */
  int eventLoops();

  /** {@return threads of the caller's, which are not disposed; null for own ones} */
  @Nullable LoopResources loopResources();

  /** {@return how much one read takes at the most: the size of received buffers, in bytes} */
  int readBytes();

  /**
   * {@return a spec with fixed socket buffers, in bytes; 0 leaves one to the kernel} A Unix domain
   * socket has no receive buffer of its own: what was sent waits in the sender's.
   */
  SocketSpec withSocketBuffers(int newSendBufferBytes, int newReceiveBufferBytes);
}
