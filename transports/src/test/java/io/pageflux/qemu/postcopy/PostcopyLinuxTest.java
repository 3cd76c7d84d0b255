package io.pageflux.qemu.postcopy;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.qemu.testing.LinuxGuest;
import io.pageflux.qemu.testing.LinuxGuest.Settings;
import io.pageflux.qemu.testing.RequiresLinuxGuest;
import io.pageflux.qemu.testing.RequiresPostcopy;
import io.pageflux.transport.Connector;
import io.pageflux.transport.tcp.LeakCheck;
import io.pageflux.transport.tcp.SocketTransport;
import io.pageflux.transport.tcp.UnixSpec;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import reactor.core.Disposable;

/** A captured Linux is resumed lazily, and checks its memory meanwhile. */
@RequiresLinuxGuest
@RequiresPostcopy
@ExtendWith(LeakCheck.class)
class PostcopyLinuxTest {

  /**
   * QEMU is to stop the guest after few passes: QEMU 7.2 without KVM loses track of pages that a
   * Linux writes while a migration goes on for several, whoever receives it.
   */
  private static final String FEW_PASSES =
      "{'execute': 'migrate-set-parameters', 'arguments': {'max-bandwidth': 100000000000,"
          + " 'downtime-limit': 10000}}";

  private static final Settings GUEST = Settings.small(20);

  private static String capabilities(String... names) {
    StringBuilder list = new StringBuilder();
    for (String name : names) {
      list.append(list.isEmpty() ? "" : ", ")
          .append("{'capability': '%s', 'state': true}".formatted(name));
    }
    return "{'execute': 'migrate-set-capabilities', 'arguments': {'capabilities': [%s]}}"
        .formatted(list);
  }

  private static String uri(String command, Path socket) {
    return "{'execute': '%s', 'arguments': {'uri': 'unix:%s'}}".formatted(command, socket);
  }

  @Test
  void aLinuxFindsAllItsMemoryWhileItComes(@TempDir Path directory) throws Exception {
    Path here = Files.createDirectories(directory.resolve("s"));
    Path there = Files.createDirectories(directory.resolve("d"));
    Path capture = directory.resolve("c");
    int lastBeat;
    try (LinuxGuest source = new LinuxGuest(here, GUEST)) {
      source.awaitReady();
      source.awaitRound();
      source.execute(FEW_PASSES);
      source.execute(capabilities("return-path"));
      Captures.capture(
          capture,
          address -> {
            try {
              source.execute("{'execute': 'migrate', 'arguments': {'uri': '" + address + "'}}");
            } catch (java.io.IOException e) {
              throw new java.io.UncheckedIOException(e);
            }
          });
      assertThat(source.badLines()).isEmpty();
      lastBeat = source.heartbeat().number(source.heartbeat().count() - 1);
    }
    try (LinuxGuest destination = new LinuxGuest(there, GUEST, "-incoming", "defer")) {
      destination.execute(capabilities("postcopy-ram", "postcopy-blocktime"));
      Path socket = there.resolve("in");
      destination.execute(uri("migrate-incoming", socket));
      CompletableFuture<PostcopyInfo> end = new CompletableFuture<>();
      PostcopySpec spec =
          PostcopySpec.of(capture)
              .withBackgroundBytesPerSecond(10 << 20)
              .withProgressInterval(Duration.ofMillis(20));
      Connector connector =
          SocketTransport.connector(
              UnixSpec.of(socket).withSocketBuffers(LazyDestination.SEND_BUFFER_BYTES, 0));
      Disposable resuming =
          QemuPostcopy.resume(spec, connector)
              .last()
              .subscribe(end::complete, end::completeExceptionally);
      try {
        destination.awaitRound();
        PostcopyInfo info = end.get(60, TimeUnit.SECONDS);
        assertThat(info.requests()).isGreaterThan(100);
        assertThat(info.zeroPages() + info.wholePages()).isEqualTo(info.pages());
        destination.awaitRound();
        assertThat(destination.badLines()).isEmpty();
        assertThat(destination.heartbeat().number(0)).isEqualTo((lastBeat + 1) % 256);
      } finally {
        resuming.dispose();
      }
    }
  }
}
