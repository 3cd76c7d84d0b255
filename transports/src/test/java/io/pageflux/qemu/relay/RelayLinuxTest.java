package io.pageflux.qemu.relay;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.qemu.testing.LinuxGuest;
import io.pageflux.qemu.testing.LinuxGuest.Settings;
import io.pageflux.qemu.testing.RequiresLinuxGuest;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.io.TempDir;

/** A real Linux, which checks its memory all the time, moves through two relays. */
@RequiresLinuxGuest
class RelayLinuxTest {

  /** How often it moves: more often by {@code -Dpageflux.linux.moves=N} for a thorough look. */
  private static final int MOVES = Integer.getInteger("pageflux.linux.moves", 1);

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

  @RepeatedTest(2)
  void aLinuxThatRewritesItsMemoryGoesOnWithIt(@TempDir Path directory) throws Exception {
    for (int move = 0; move < MOVES; move++) {
      Path here = Files.createDirectories(directory.resolve("s" + move));
      Path there = Files.createDirectories(directory.resolve("d" + move));
      int port = freePort();
      try (LinuxGuest source = new LinuxGuest(here, Settings.small(20));
          LinuxGuest destination =
              new LinuxGuest(there, Settings.small(20), "-incoming", "tcp:127.0.0.1:" + port);
          RelayPair relays = new RelayPair(RelaySpec.DEFAULT, port)) {
        source.awaitReady();
        source.awaitRound();
        source.execute(PASSES);
        source.execute(RETURN_PATH);
        destination.execute(RETURN_PATH);

        source.execute("{'execute': 'migrate', 'arguments': {'uri': '" + relays.uri() + "'}}");

        destination.awaitRound();
        assertThat(RelayPair.failure(relays.sourceEnd())).isNull();
        assertThat(RelayPair.failure(relays.destinationEnd())).isNull();
        assertThat(source.badLines()).isEmpty();
        int last = source.heartbeat().number(source.heartbeat().count() - 1);
        assertThat(destination.heartbeat().number(0)).isEqualTo((last + 1) % 256);
      }
    }
  }

  private static int freePort() throws Exception {
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return socket.getLocalPort();
    }
  }
}
