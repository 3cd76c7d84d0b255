package io.pageflux.qemu.migrate;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import reactor.core.publisher.Mono;

/**
 * The settings of a QEMU's own migration, which is for the devices only: changed when those are to
 * be moved and not before, so that nothing has to be put back if this process is killed while the
 * memory is copied.
 */
final class QemuSettings {

  /** Leaves out memory that is in a shared file. */
  static final String IGNORE_SHARED = "x-ignore-shared";

  /** Tells of the migration's states. */
  static final String EVENTS = "events";

  /** The destination opens its disks when it is let run, and until then the source may go on. */
  static final String LATE_BLOCK_ACTIVATE = "late-block-activate";

  /** In bytes per second: the guest is paused meanwhile, so as fast as it can. */
  private static final long BANDWIDTH = 1L << 40;

  private final QemuMonitor qemu;
  private final Map<String, Boolean> before;
  private final Map<String, Boolean> after;
  private final long bandwidth;
  private volatile boolean changed;

  private QemuSettings(
      QemuMonitor qemu, Map<String, Boolean> before, Map<String, Boolean> after, long bandwidth) {
    this.qemu = qemu;
    this.before = before;
    this.after = after;
    this.bandwidth = bandwidth;
  }

  /**
   * {@return what is to be changed, and is not yet} The capabilities that are wanted will be on,
   * and off what is not: several connections, or post-copy, would not be a stream that can be
   * carried.
   */
  static Mono<QemuSettings> of(QemuMonitor qemu, Set<String> wanted) {
    return qemu.run(commands -> commands.queryCapabilities())
        .flatMap(
            now -> {
              Map<String, Boolean> before = new LinkedHashMap<>();
              Map<String, Boolean> after = new LinkedHashMap<>();
              for (String name : wanted) {
                if (!now.containsKey(name)) {
                  return Mono.error(
                      MigrationException.of(
                          Kind.GUEST,
                          "%s cannot take part: it does not know the capability %s; QEMU 4.0 or later is needed"
                              .formatted(qemu.name(), name)));
                }
              }
              now.forEach(
                  (name, on) -> {
                    if (on != wanted.contains(name)) {
                      before.put(name, on);
                      after.put(name, !on);
                    }
                  });
              return qemu.client()
                  .flatMap(client -> client.execute("query-migrate-parameters"))
                  .map(
                      p -> new QemuSettings(qemu, before, after, p.path("max-bandwidth").asLong()));
            });
  }

  /** Changes them. */
  Mono<Void> apply() {
    return Mono.defer(
        () -> {
          changed = true;
          return set(after).then(bandwidth(BANDWIDTH));
        });
  }

  private Mono<Void> set(Map<String, Boolean> capabilities) {
    return capabilities.isEmpty()
        ? Mono.empty()
        : qemu.run(commands -> commands.setCapabilities(capabilities));
  }

  private Mono<Void> bandwidth(long bytesPerSecond) {
    return qemu.run(commands -> commands.setParameters(Map.of("max-bandwidth", bytesPerSecond)));
  }

  /** Puts back what was before, if it was changed. */
  Mono<Void> restore() {
    return Mono.defer(() -> changed ? set(before).then(bandwidth(bandwidth)) : Mono.empty());
  }
}
