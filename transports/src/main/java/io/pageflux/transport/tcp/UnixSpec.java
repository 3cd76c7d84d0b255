package io.pageflux.transport.tcp;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import reactor.netty.resources.LoopResources;

/**
 * A Unix domain socket to connect to or to listen at. Immutable: each {@code with} method returns a
 * changed copy.
 *
 * @param path of the socket, 1 to {@value #MAX_PATH_BYTES} bytes in UTF-8
 * @param permissions of the socket file when listening: to connect one needs to write. By default
 *     only the owner may
 * @param eventLoops how many threads serve the connections of one connector or acceptor, 1 to 64;
 *     without meaning if {@code loopResources} are given
 * @param loopResources threads of the caller's, which are not disposed; null for own ones, which
 *     live while there is a connection or somebody listens
 * @param sendBufferBytes {@code SO_SNDBUF}, or 0 for the kernel's default. It bounds what is on the
 *     way: there is no receive buffer besides
 * @param readBytes how much one read takes at the most, 4 KiB to 4 MiB: the size of received
 *     buffers
 */
public record UnixSpec(
    Path path,
    Set<PosixFilePermission> permissions,
    int eventLoops,
    @Nullable LoopResources loopResources,
    int sendBufferBytes,
    int readBytes)
    implements SocketSpec {

  /** The longest path that Linux takes for a socket's address: {@code sun_path} and its end. */
  public static final int MAX_PATH_BYTES = 107;

  private static final int EVENT_LOOPS = 2;
  private static final int READ_BYTES = 128 << 10;

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if one is out of its range
   */
  public UnixSpec {
    permissions = Set.copyOf(permissions);
    int bytes = bytes(Objects.requireNonNull(path, "path"));
    if (bytes == 0 || bytes > MAX_PATH_BYTES) {
      throw new IllegalArgumentException(
          "the path of a Unix domain socket has 1 to %d bytes, but %s has %d; use a shorter one"
              .formatted(MAX_PATH_BYTES, path, bytes));
    }
    TcpSpec.requireRange("eventLoops", eventLoops, 1, 64);
    TcpSpec.requireRange("sendBufferBytes", sendBufferBytes, 0, 1 << 30);
    TcpSpec.requireRange("readBytes", readBytes, 4 << 10, 4 << 20);
  }

  static int bytes(Path path) {
    return path.toString().getBytes(StandardCharsets.UTF_8).length;
  }

  /** A spec with default settings. */
  public static UnixSpec of(Path path) {
    return new UnixSpec(
        path, PosixFilePermissions.fromString("rw-------"), EVENT_LOOPS, null, 0, READ_BYTES);
  }

  /** {@return a spec with another path} */
  public UnixSpec withPath(Path newPath) {
    return new UnixSpec(
        newPath, permissions, eventLoops, loopResources, sendBufferBytes, readBytes);
  }

  /** {@return a spec with other permissions of the socket file} */
  public UnixSpec withPermissions(Set<PosixFilePermission> newPermissions) {
    return new UnixSpec(
        path, newPermissions, eventLoops, loopResources, sendBufferBytes, readBytes);
  }

  /** {@return a spec with another number of own threads} */
  public UnixSpec withEventLoops(int newEventLoops) {
    return new UnixSpec(
        path, permissions, newEventLoops, loopResources, sendBufferBytes, readBytes);
  }

  /** {@return a spec that uses threads of the caller's, or own ones again if null} */
  public UnixSpec withLoopResources(@Nullable LoopResources newLoopResources) {
    return new UnixSpec(
        path, permissions, eventLoops, newLoopResources, sendBufferBytes, readBytes);
  }

  /** {@inheritDoc} The receive buffer's size is without meaning here. */
  @Override
  public UnixSpec withSocketBuffers(int newSendBufferBytes, int newReceiveBufferBytes) {
    return new UnixSpec(
        path, permissions, eventLoops, loopResources, newSendBufferBytes, readBytes);
  }

  /** {@return a spec with another size of one read} */
  public UnixSpec withReadBytes(int newReadBytes) {
    return new UnixSpec(
        path, permissions, eventLoops, loopResources, sendBufferBytes, newReadBytes);
  }

  @Override
  public String address() {
    return "unix:" + path;
  }
}
