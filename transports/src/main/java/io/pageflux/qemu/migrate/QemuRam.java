package io.pageflux.qemu.migrate;

import com.fasterxml.jackson.databind.JsonNode;
import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.GuestMemory;
import io.pageflux.qemu.qmp.QmpClient;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * A piece of a guest's memory that is a file.
 *
 * @param id QEMU's name of the backend
 * @param sizeBytes its size
 * @param file where it is
 */
record QemuRam(String id, long sizeBytes, Path file) {

  private static final String HOW =
      "start QEMU with -object memory-backend-file,id=ram,share=on,size=SIZE,mem-path=FILE and"
          + " -machine ...,memory-backend=ram";

  /**
   * Asks a QEMU for its memory. All of it must be in files that it shares: what is not would not be
   * left out by {@code x-ignore-shared}, and would come with the devices while the guest is paused.
   *
   * @param given the file, if not to be asked for
   */
  static Mono<List<QemuRam>> of(QmpClient client, @Nullable Path given) {
    return client
        .execute("query-memdev")
        .flatMap(
            backends -> {
              if (backends.isEmpty()) {
                return Mono.error(unsuitable(client, "it has no memory backend"));
              }
              if (given != null && backends.size() != 1) {
                return Mono.error(
                    unsuitable(
                        client,
                        "it has %d memory backends, so that one file cannot be all of them; leave"
                                .formatted(backends.size())
                            + " the file out"));
              }
              return Flux.fromIterable(backends)
                  .concatMap(backend -> ram(client, backend, given))
                  .collectList();
            });
  }

  private static Mono<QemuRam> ram(QmpClient client, JsonNode backend, @Nullable Path given) {
    String id = backend.path("id").asText();
    long sizeBytes = backend.path("size").asLong();
    if (!backend.path("share").asBoolean()) {
      return Mono.error(unsuitable(client, "its memory '" + id + "' is not shared"));
    }
    return given != null
        ? Mono.just(new QemuRam(id, sizeBytes, given))
        : client
            .execute("qom-get", Map.of("path", "/objects/" + id, "property", "mem-path"))
            .onErrorMap(
                QemuMonitor::isRefusal,
                e -> unsuitable(client, "its memory '" + id + "' is in no file"))
            .map(path -> new QemuRam(id, sizeBytes, path(path.asText())));
  }

  private static Path path(String text) {
    try {
      return Path.of(text);
    } catch (InvalidPathException e) {
      throw MigrationException.of(
          Kind.LAYOUT, "no path can be '%s': %s".formatted(text, e.getMessage()), e);
    }
  }

  private static MigrationException unsuitable(QmpClient client, String why) {
    return MigrationException.of(
        Kind.LAYOUT,
        "QEMU at %s cannot take part: %s; %s".formatted(client.spec().address(), why, HOW));
  }

  /**
   * Checks that two QEMUs have the same memory, in different files.
   *
   * @throws MigrationException if not; it names both
   */
  static void requireAlike(
      String source, List<QemuRam> sourceRam, String destination, List<QemuRam> destinationRam) {
    if (!shapes(sourceRam).equals(shapes(destinationRam))) {
      throw MigrationException.of(
          Kind.LAYOUT,
          "%s has the memory %s, but %s has %s: start the destination with the same names and sizes"
              .formatted(source, shapes(sourceRam), destination, shapes(destinationRam)));
    }
    for (QemuRam one : sourceRam) {
      for (QemuRam other : destinationRam) {
        if (sameFile(one.file, other.file)) {
          throw MigrationException.of(
              Kind.LAYOUT,
              "%s and %s have the same memory, %s; the destination needs a file of its own"
                  .formatted(source, destination, one.file));
        }
      }
    }
  }

  private static boolean sameFile(Path one, Path other) {
    try {
      return Files.isSameFile(one, other);
    } catch (IOException e) {
      return false; // One is not there, which mapping it says better.
    }
  }

  private static String shapes(List<QemuRam> ram) {
    return ram.stream()
        .map(one -> "'%s' of %d bytes".formatted(one.id, one.sizeBytes))
        .sorted()
        .collect(Collectors.joining(" and "));
  }

  /**
   * Maps the memory of a QEMU.
   *
   * @param owner whose memory it is, for messages
   * @throws MigrationException if a file is not there, or not of its size
   */
  static GuestMemory map(String owner, List<QemuRam> ram) {
    GuestMemory.Builder builder = GuestMemory.builder();
    try {
      // In the order of names, which both sides have in common.
      for (QemuRam one : ram.stream().sorted(Comparator.comparing(QemuRam::id)).toList()) {
        if (!Files.exists(one.file)) {
          throw new IOException(
              one.file
                  + " does not exist here; a directory or a file that QEMU has deleted will not do");
        }
        builder.file(one.id, one.file, one.sizeBytes);
      }
      return builder.build();
    } catch (IOException | RuntimeException e) {
      throw MigrationException.of(
          Kind.LAYOUT, "the memory of %s cannot be mapped: %s".formatted(owner, e.getMessage()), e);
    }
  }
}
