package io.pageflux.examples.bench.qemu;

import io.pageflux.qemu.qmp.MigrateStatus;
import io.pageflux.qemu.qmp.QmpClient;
import io.pageflux.qemu.qmp.QmpCommands;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Moves one guest to a new QEMU, over and over: where it came from it goes on afterwards, so that
 * all means move the same guest.
 */
final class Mover implements AutoCloseable {

  private static final int PORT = 7003;
  private static final String[] CAPABILITIES = {"xbzrle", "multifd", "return-path"};

  private final ShapedLink link;
  private final Path directory;
  private final BenchGuest.Kind kind;
  private final Duration timeout;
  private final BenchGuest source;

  /** Boots the guest. */
  Mover(ShapedLink link, Path directory, BenchGuest.Kind kind, Duration timeout)
      throws IOException {
    this.link = link;
    this.directory = directory;
    this.kind = kind;
    this.timeout = timeout;
    this.source = BenchGuest.start(link, ShapedLink.End.SOURCE, kind, directory, "source", false);
    try {
      source.awaitReady();
    } catch (IOException | RuntimeException e) {
      source.close();
      throw e;
    }
  }

  /** {@return where the destination's QEMU listens} */
  static int port() {
    return PORT;
  }

  /**
   * {@return a migration by these means, or null if it did not end in time}
   *
   * @param relays that lie between, if they are the means
   */
  @Nullable Move move(Means means, RelayPair relays) throws IOException {
    String address = "tcp:" + ShapedLink.End.DESTINATION.address() + ":" + PORT;
    try (BenchGuest destination =
        BenchGuest.start(link, ShapedLink.End.DESTINATION, kind, directory, "destination", true)) {
      set(source.qmp(), means);
      set(destination.qmp(), means);
      destination.qmp().commands().migrateIncoming(address).block();
      long before = link.bytesFromSource();
      source.qmp().commands().migrate(means.isRelayed() ? relays.uri() : address).block();
      MigrateStatus status = await();
      if (status == null) {
        return null;
      }
      double silence = (destination.awaitFirstBeat() - source.lastBeatNanos()) / 1e6;
      long wire = link.bytesFromSource() - before;
      source.qmp().commands().cont().block();
      return new Move(
          status.info().path("total-time").asDouble(),
          status.info().path("downtime").asDouble(),
          silence,
          wire,
          status.info().path("ram").path("dirty-sync-count").asLong());
    }
  }

  private @Nullable MigrateStatus await() {
    QmpCommands commands = source.qmp().commands();
    try {
      return Objects.requireNonNull(commands.awaitMigration(timeout).block());
    } catch (RuntimeException e) {
      MigrateStatus status = Objects.requireNonNull(commands.queryMigrate().block());
      if (status.isEnded()) {
        throw e;
      }
      commands.migrateCancel().then(commands.awaitMigration(timeout)).onErrorComplete().block();
      return null;
    }
  }

  private static void set(QmpClient qmp, Means means) {
    Map<String, Boolean> capabilities = new HashMap<>(Map.of("events", true));
    for (String capability : CAPABILITIES) {
      capabilities.put(capability, means.capabilities().getOrDefault(capability, false));
    }
    Map<String, Object> parameters = new HashMap<>(means.parameters());
    parameters.put("max-bandwidth", 1_000_000_000_000L);
    qmp.commands()
        .setCapabilities(capabilities)
        .then(qmp.commands().setParameters(parameters))
        .block();
  }

  @Override
  public void close() {
    source.close();
  }
}
