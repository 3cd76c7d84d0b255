package io.pageflux.qemu.migrate;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;

class DeviceStateSocketTest {

  private static final Duration PATIENCE = Duration.ofSeconds(30);

  @TempDir private Path directory;

  private static Mono<byte[]> read(DeviceStateSocket.Outlet outlet) {
    return Mono.using(
        () -> outlet,
        made -> made.read(1 << 20),
        made -> {
          try {
            made.close();
          } catch (IOException e) {
            throw new IllegalStateException(e);
          }
        });
  }

  private static SocketChannel connect(DeviceStateSocket.Outlet outlet) throws IOException {
    Path path = Path.of(outlet.uri().substring("unix:".length()));
    return SocketChannel.open(UnixDomainSocketAddress.of(path));
  }

  @Test
  void whatIsWrittenUntilTheConnectionIsClosedIsRead() throws IOException {
    try (DeviceStateSocket socket = DeviceStateSocket.in(directory)) {
      DeviceStateSocket.Outlet outlet = socket.outlet();
      Mono<byte[]> reading = read(outlet).cache();
      reading.subscribe();
      try (SocketChannel qemu = connect(outlet)) {
        qemu.write(ByteBuffer.wrap(new byte[] {1, 2, 3}));
      }
      assertThat(reading.block(PATIENCE)).containsExactly(1, 2, 3);
    }
  }

  @Test
  @Timeout(60)
  void whoeverIsAcceptedJustWhenTheReadingIsCancelledIsHungUpOn() throws IOException {
    for (int turns = 0; turns < 60_000; turns += 100) {
      try (DeviceStateSocket socket = DeviceStateSocket.in(directory)) {
        DeviceStateSocket.Outlet outlet = socket.outlet();
        Disposable reading = read(outlet).subscribe();
        try (SocketChannel qemu = connect(outlet)) {
          for (int turn = 0; turn < turns; turn++) {
            Thread.onSpinWait();
          }
          reading.dispose();
          // It does not wait for ever.
          assertThat(qemu.read(ByteBuffer.allocate(1))).isEqualTo(-1);
        } catch (IOException e) {
          // Nor does it if it is reset.
        }
      }
    }
  }
}
