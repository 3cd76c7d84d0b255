package io.pageflux.qemu.qmp;

import com.fasterxml.jackson.databind.JsonNode;
import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * The commands that migration needs, typed. Each is cold, and fails as {@link QmpClient#execute}
 * does.
 */
public final class QmpCommands {

  private static final Duration SETTLING = Duration.ofMillis(5);

  private final QmpClient client;

  QmpCommands(QmpClient client) {
    this.client = client;
  }

  /** {@return the run state, such as {@code running}, {@code paused}, {@code inmigrate}} */
  public Mono<String> queryStatus() {
    return client.execute("query-status").map(status -> status.path("status").asText());
  }

  /** {@return whether the guest's CPUs run} */
  public Mono<Boolean> isRunning() {
    return client.execute("query-status").map(status -> status.path("running").asBoolean());
  }

  /** Stops the guest's CPUs; does nothing to a stopped guest. */
  public Mono<Void> stop() {
    return client.execute("stop").then();
  }

  /** Lets the guest's CPUs run; does nothing to a running guest. */
  public Mono<Void> cont() {
    return client.execute("cont").then();
  }

  /** {@return what the last migration does} */
  public Mono<MigrateStatus> queryMigrate() {
    return client.execute("query-migrate").map(MigrateStatus::of);
  }

  /** Starts a migration to an address as QEMU takes it, such as {@code unix:PATH}. */
  public Mono<Void> migrate(String uri) {
    return client.execute("migrate", Map.of("uri", uri)).then();
  }

  /**
   * Lets a QEMU that was started with {@code -incoming defer} wait for a migration, or fetch it.
   */
  public Mono<Void> migrateIncoming(String uri) {
    return client.execute("migrate-incoming", Map.of("uri", uri)).then();
  }

  /** Stops the migration that is going on, if there is one. */
  public Mono<Void> migrateCancel() {
    return client.execute("migrate_cancel").then();
  }

  /** Switches one capability of migration. */
  public Mono<Void> setCapability(String name, boolean on) {
    return setCapabilities(Map.of(name, on));
  }

  /** Switches capabilities of migration. */
  public Mono<Void> setCapabilities(Map<String, Boolean> capabilities) {
    List<Map<String, Object>> list =
        capabilities.entrySet().stream()
            .map(c -> Map.<String, Object>of("capability", c.getKey(), "state", c.getValue()))
            .toList();
    return client.execute("migrate-set-capabilities", Map.of("capabilities", list)).then();
  }

  /** {@return the capabilities of migration that this QEMU knows, and whether they are on} */
  public Mono<Map<String, Boolean>> queryCapabilities() {
    return client
        .execute("query-migrate-capabilities")
        .map(
            list -> {
              Map<String, Boolean> capabilities = new LinkedHashMap<>();
              for (JsonNode one : list) {
                capabilities.put(one.path("capability").asText(), one.path("state").asBoolean());
              }
              return capabilities;
            });
  }

  /** Sets parameters of migration, such as {@code max-bandwidth} in bytes per second. */
  public Mono<Void> setParameters(Map<String, ?> parameters) {
    return client.execute("migrate-set-parameters", parameters).then();
  }

  /**
   * Has QEMU write a range of the guest's physical memory to a file. QEMU writes it before it
   * answers.
   *
   * @param path as QEMU sees it; what it held before is lost
   */
  public Mono<Void> pmemsave(long address, long sizeBytes, Path path, Duration timeout) {
    return client
        .execute(
            "pmemsave",
            Map.of("val", address, "size", sizeBytes, "filename", path.toString()),
            timeout)
        .then();
  }

  /** Ends QEMU, and waits for the connection to end with it. */
  public Mono<Void> quit() {
    return client
        .execute("quit")
        .then()
        // It may be gone before the answer is out.
        .onErrorComplete(
            e -> e instanceof MigrationException known && known.kind() == Kind.TRANSPORT)
        .then(client.onClose());
  }

  /**
   * Waits for the migration, outgoing or incoming, to complete.
   *
   * <p>Asks first, and again on each event {@code MIGRATION}, for which the capability {@code
   * events} must be on. Does not wait for a migration to begin: where there is none, waits until
   * there is one and it has ended.
   *
   * <p>QEMU says at the source that the migration has completed a moment before it reckons its
   * total time and its downtime; this waits for those.
   *
   * @param timeout for the whole of it
   * @return the status {@code completed}; any other end is an error of kind {@code GUEST} with what
   *     QEMU says about it
   */
  public Mono<MigrateStatus> awaitMigration(Duration timeout) {
    return Flux.merge(client.events().filter(e -> e.name().equals("MIGRATION")), Mono.just(0))
        .concatMap(event -> queryMigrate())
        .filter(MigrateStatus::isEnded)
        .next()
        .flatMap(this::settled)
        .switchIfEmpty(client.execute("query-migrate").map(MigrateStatus::of)) // says it is closed
        .timeout(
            timeout,
            Mono.error(
                () ->
                    MigrationException.of(
                        Kind.TIMEOUT,
                        "the migration of QEMU at %s did not end within %.1f s"
                            .formatted(client.spec().address(), timeout.toMillis() / 1000.0))))
        .flatMap(
            status ->
                status.isCompleted()
                    ? Mono.just(status)
                    : Mono.error(
                        MigrationException.of(
                            Kind.GUEST,
                            "the migration of QEMU at %s ended with %s"
                                .formatted(client.spec().address(), status))));
  }

  /** Until the run state goes on too, a migration's times are those of the one before. */
  private Mono<MigrateStatus> settled(MigrateStatus status) {
    return status.isCompleted()
        ? queryStatus()
            .filter(state -> !state.equals("finish-migrate"))
            .repeatWhenEmpty(times -> times.delayElements(SETTLING))
            .then(queryMigrate())
        : Mono.just(status);
  }
}
