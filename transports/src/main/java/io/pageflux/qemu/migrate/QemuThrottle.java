package io.pageflux.qemu.migrate;

import com.fasterxml.jackson.databind.JsonNode;
import io.pageflux.migration.ProcessThrottle;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/**
 * Finds a means to throttle the guest of a QEMU: its process is stopped for a part of the time, by
 * SIGSTOP and SIGCONT, as {@link ProcessThrottle} does.
 *
 * <p>QMP has no command for it outside of a migration of QEMU's own. What else there is:
 *
 * <ul>
 *   <li>{@code stop} and {@code cont}, many times a second: each {@code stop} waits for all disks
 *       and flushes them, both tell everybody of it by events, and if QMP is lost in between, the
 *       guest stays stopped and nobody can let it go on. A signal does none of this.
 *   <li>Its processors' threads alone, which {@code query-cpus-fast} names: SIGSTOP always stops
 *       the whole process, and a limit for threads ({@code cpu.max} of a threaded cgroup) needs
 *       rights that whoever migrates seldom has.
 *   <li>{@code set-vcpu-dirty-limit}: needs KVM with a dirty ring.
 * </ul>
 *
 * <p>So QEMU's main loop, and with it QMP and the devices, stands still with the processors, for
 * 990 ms at a time at the most. Should this JVM be killed, a shell that waits for that lets it go
 * on.
 *
 * <p>The process is the one that QEMU's first processor is a thread of, by QEMU's word, and only if
 * it has the file of the guest's memory mapped: a number from another PID namespace, or of a QEMU
 * that has gone, must stop nobody else. Without such a process, or the right to send it signals,
 * the guest cannot be throttled.
 */
final class QemuThrottle {

  private QemuThrottle() {}

  /**
   * {@return a throttle of a QEMU; empty if there is no means}
   *
   * @param ram its memory
   */
  static Mono<ProcessThrottle> of(QemuMonitor qemu, List<QemuRam> ram) {
    return qemu.client()
        .flatMap(client -> client.execute("query-cpus-fast"))
        .publishOn(Schedulers.boundedElastic())
        .flatMap(cpus -> Mono.justOrEmpty(process(cpus, ram)))
        .map(ProcessThrottle::new)
        .onErrorComplete();
  }

  private static @Nullable Long process(JsonNode cpus, List<QemuRam> ram) {
    long thread = cpus.path(0).path("thread-id").asLong(0);
    if (thread <= 1 || ram.isEmpty()) {
      return null;
    }
    try {
      long pid = threadGroup(thread);
      boolean itself = pid <= 1 || pid == ProcessHandle.current().pid();
      return !itself && ram.stream().allMatch(one -> maps(pid, one.file())) ? pid : null;
    } catch (IOException | RuntimeException e) {
      return null;
    }
  }

  private static long threadGroup(long thread) throws IOException {
    try (Stream<String> lines = Files.lines(Path.of("/proc/" + thread + "/status"))) {
      return lines
          .filter(line -> line.startsWith("Tgid:"))
          .mapToLong(line -> Long.parseLong(line.substring("Tgid:".length()).strip()))
          .findFirst()
          .orElse(0);
    }
  }

  /** {@return whether a process has a file mapped, by its inode and name} */
  private static boolean maps(long pid, Path file) {
    try (Stream<String> lines = Files.lines(Path.of("/proc/" + pid + "/maps"))) {
      String inode = " " + Files.getAttribute(file, "unix:ino") + " ";
      String name = "/" + file.toRealPath().getFileName();
      return lines.anyMatch(line -> line.contains(inode) && line.endsWith(name));
    } catch (IOException e) {
      return false;
    }
  }
}
