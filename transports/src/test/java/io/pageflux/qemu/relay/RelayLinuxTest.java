package io.pageflux.qemu.relay;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.qemu.testing.LinuxGuest;
import io.pageflux.qemu.testing.LinuxGuest.Settings;
import io.pageflux.qemu.testing.RequiresLinuxGuest;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A real Linux, which checks its memory all the time, moves on and on through pairs of relays. */
@RequiresLinuxGuest
class RelayLinuxTest {

  /** How often it moves; another number by {@code -Dpageflux.linux.moves=N}. */
  private static final int MOVES = Integer.getInteger("pageflux.linux.moves", 10);

  private static final Settings SETTINGS = Settings.small(20);

  private static final String RETURN_PATH =
      "{'execute': 'migrate-set-capabilities', 'arguments': {'capabilities':"
          + " [{'capability': 'return-path', 'state': true}]}}";

  /**
   * By default QEMU is to stop the guest after few passes. QEMU 7.2 without KVM loses track of
   * pages that a Linux writes while a migration goes on for several: also from QEMU to QEMU,
   * without anything between. QEMU 10.0 does not; {@code -Dpageflux.linux.bandwidth=30000000} makes
   * it go through a dozen.
   */
  private static final long BANDWIDTH = Long.getLong("pageflux.linux.bandwidth", 0);

  private static final String PASSES =
      "{'execute': 'migrate-set-parameters', 'arguments': {'max-bandwidth': %d, 'downtime-limit': %d}}"
          .formatted(BANDWIDTH > 0 ? BANDWIDTH : 100_000_000_000L, BANDWIDTH > 0 ? 300 : 10_000);

  @TempDir private Path directory;

  private LinuxGuest start(int number, String... more) throws IOException {
    Path here = Files.createDirectory(directory.resolve(Integer.toString(number)));
    return new LinuxGuest(here, SETTINGS, more);
  }

  @Test
  void aLinuxThatRewritesItsMemoryGoesOnWithItAfterEachMove() throws Exception {
    LinuxGuest guest = start(0);
    try {
      guest.awaitReady();
      guest.awaitRound();
      for (int move = 1; move <= MOVES; move++) {
        LinuxGuest from = guest;
        int port = freePort();
        try (from;
            RelayPair relays = new RelayPair(RelaySpec.DEFAULT, port)) {
          guest = start(move, "-incoming", "tcp:127.0.0.1:" + port);
          move(from, relays, guest);
        }
      }
    } finally {
      guest.close();
    }
  }

  private static void move(LinuxGuest from, RelayPair relays, LinuxGuest to) throws Exception {
    from.execute(PASSES);
    from.execute(RETURN_PATH);
    to.execute(RETURN_PATH);

    from.execute("{'execute': 'migrate', 'arguments': {'uri': '" + relays.uri() + "'}}");

    to.awaitRound();
    assertThat(RelayPair.failure(relays.sourceEnd())).isNull();
    assertThat(RelayPair.failure(relays.destinationEnd())).isNull();
    assertThat(from.badLines()).isEmpty();
    int last = from.heartbeat().number(from.heartbeat().count() - 1);
    assertThat(to.heartbeat().number(0)).isEqualTo((last + 1) % 256);
  }

  private static int freePort() throws Exception {
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return socket.getLocalPort();
    }
  }
}
