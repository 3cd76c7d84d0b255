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
 * Boots a guest and moves it to a new QEMU, once for each migration.
 *
 * <p>A guest that has been moved before is no measure: reading its memory for the first time maps
 * the pages that it never wrote, which takes QEMU longer than to send the others over a fast link.
 */
final class Mover {

  private static final int PORT = 7003;
  private static final String[] CAPABILITIES = {"xbzrle", "multifd", "return-path"};

  private final ShapedLink link;
  private final Path directory;
  private final BenchGuest.Kind kind;
  private final Duration timeout;

  Mover(ShapedLink link, Path directory, BenchGuest.Kind kind, Duration timeout) {
    this.link = link;
    this.directory = directory;
    this.kind = kind;
    this.timeout = timeout;
  }

  /**
   * {@return a migration by these means, or null if it did not end in time}
   *
   * @param relays that lie between, if they are the means
   */
  @Nullable Move move(Means means, RelayPair relays) throws IOException {
    try (BenchGuest source = start(ShapedLink.End.SOURCE, "source", false)) {
      source.awaitReady();
      try (BenchGuest destination = start(ShapedLink.End.DESTINATION, "destination", true)) {
        return move(source, destination, means, relays);
      }
    }
  }

  private BenchGuest start(ShapedLink.End end, String name, boolean incoming) throws IOException {
    return BenchGuest.start(link, end, kind, directory, name, incoming);
  }

  private @Nullable Move move(
      BenchGuest source, BenchGuest destination, Means means, RelayPair relays) throws IOException {
    String direct = "tcp:" + ShapedLink.End.DESTINATION.address() + ":" + PORT;
    set(source.qmp(), means);
    set(destination.qmp(), means);
    destination
        .qmp()
        .commands()
        .migrateIncoming(means.isRelayed() ? relays.incoming() : direct)
        .block();
    long before = link.bytesFromSource();
    long begun = System.nanoTime();
    source.qmp().commands().migrate(means.isRelayed() ? relays.outgoing() : direct).block();
    MigrateStatus status = await(source.qmp().commands());
    if (status == null) {
      return null;
    }
    long arrived = destination.awaitFirstBeat();
    double silence = (arrived - source.lastBeatNanos()) / 1e6;
    return new Move(
        (arrived - begun) / 1e6,
        status.info().path("total-time").asDouble(),
        status.info().path("downtime").asDouble(),
        silence,
        link.bytesFromSource() - before,
        status.info().path("ram").path("dirty-sync-count").asLong());
  }

  private @Nullable MigrateStatus await(QmpCommands source) {
    try {
      return Objects.requireNonNull(source.awaitMigration(timeout).block());
    } catch (RuntimeException e) {
      if (Objects.requireNonNull(source.queryMigrate().block()).isEnded()) {
        throw e;
      }
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
}
