package io.pageflux.examples.bench.qemu;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import io.pageflux.examples.cli.CliException;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.ExitCode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import reactor.core.Disposable;

/** {@code pageflux qemu-bench}. */
@Command(
    name = "qemu-bench",
    header = "Measure relays between two QEMUs against QEMU's own means.",
    description = {
      "A Linux guest is moved over a link that is shaped by the kernel, to a new QEMU each time, by"
          + " QEMU's defaults, by the best of QEMU's own settings, and by relays. Needs root,"
          + " iproute2, QEMU, and the guest that .ci/linux-guest makes. QEMU's bandwidth is not"
          + " limited but by the link; everything else of its is as it comes. The exit code is 1 if"
          + " a target was missed."
    })
public final class QemuBenchCommand implements Callable<Integer> {

  private static final Map<String, Scene> SCENES =
      Map.of(
          "1gbit", new Scene("1gbit", 0, 0.7, 1.1),
          "200mbit", new Scene("200mbit", 0, 0.4, 1.0),
          "200mbit-rewriting", new Scene("200mbit", 20, 0.4, 0.7),
          "unlimited", new Scene(ShapedLink.UNLIMITED, 0, 1.5, 0));

  private final Console console;

  @Option(
      names = "--scenes",
      split = ",",
      paramLabel = "SCENE",
      defaultValue = "1gbit,200mbit,200mbit-rewriting,unlimited",
      description =
          "1gbit, 200mbit, 200mbit-rewriting (20 MB/s), unlimited, or RATE or RATE:MB/S with a rate"
              + " as tc writes it (${DEFAULT-VALUE}).")
  private List<String> scenes = List.of();

  @Option(
      names = "--against",
      split = ",",
      paramLabel = "SETTING",
      defaultValue = "defaults,xbzrle,multifd,multifd-zlib,multifd-zstd",
      description =
          "Of which of QEMU's own settings the best is looked for, once in each scene, that the"
              + " relays are compared with, besides the defaults (${DEFAULT-VALUE}).")
  private List<String> against = List.of();

  @Option(
      names = "--repeat",
      paramLabel = "N",
      defaultValue = "5",
      description = "How often each means moves the guest (${DEFAULT-VALUE}).")
  private int repeat;

  @Option(
      names = "--warm-up",
      paramLabel = "N",
      defaultValue = "12",
      description = "Migrations by which the relays are warmed up (${DEFAULT-VALUE}).")
  private int warmUp;

  @Option(
      names = "--memory",
      paramLabel = "MIB",
      defaultValue = "1024",
      description = "The guest's RAM (${DEFAULT-VALUE}).")
  private int memoryMib;

  @Option(
      names = "--fill",
      paramLabel = "MIB",
      defaultValue = "342",
      description = "How much of it the guest fills (${DEFAULT-VALUE}).")
  private int fillMib;

  @Option(
      names = "--guest",
      paramLabel = "DIR",
      defaultValue = "/tmp/pageflux-linux-guest",
      description = "Where .ci/linux-guest has made the guest (${DEFAULT-VALUE}).")
  private Path guest = Path.of("/tmp/pageflux-linux-guest");

  @Option(
      names = "--timeout",
      paramLabel = "DURATION",
      defaultValue = "5m",
      description = "How long one migration may take (${DEFAULT-VALUE}).")
  private Duration timeout = Duration.ofMinutes(5);

  @Option(names = "--json", paramLabel = "FILE", description = "Write the results to a file, too.")
  private @Nullable Path json;

  /** Makes the command. */
  public QemuBenchCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    List<Scene> chosen = new ArrayList<>();
    for (String name : scenes) {
      chosen.add(scene(name));
    }
    List<Means> own = new ArrayList<>();
    for (String name : against) {
      own.add(setting(name));
    }
    if (!Files.isReadable(guest.resolve("vmlinuz")) || !Files.isReadable(guest.resolve("initrd"))) {
      throw new CliException(
          "there is no guest in %s: make it with .ci/linux-guest %s".formatted(guest, guest));
    }
    QemuBench bench =
        new QemuBench(
            new BenchGuest.Kind(guest, memoryMib, fillMib, 0),
            own,
            repeat,
            warmUp,
            timeout,
            console.out());
    try (ShapedLink link = ShapedLink.make()) {
      Disposable interrupted =
          console.interruption().requests().subscribe(v -> {}, e -> {}, link::stop);
      try {
        bench.run(chosen, link);
      } finally {
        interrupted.dispose();
      }
    } catch (RuntimeException | IOException e) {
      if (console.interruption().requested()) {
        return ExitCode.INTERRUPTED;
      }
      throw e;
    }
    if (json != null) {
      new ObjectMapper()
          .enable(SerializationFeature.INDENT_OUTPUT)
          .writeValue(json.toFile(), Map.of("results", bench.results()));
    }
    return bench.allMet() ? ExitCode.OK : ExitCode.FAILED;
  }

  private static Scene scene(String name) {
    Scene known = SCENES.get(name);
    if (known != null) {
      return known;
    }
    String[] parts = name.split(":", 2);
    if (!ShapedLink.isRate(parts[0]) || parts.length == 2 && !parts[1].matches("[0-9]{1,4}")) {
      throw new CliException(
          "'%s' is no scene: one of %s, or RATE or RATE:MB/S such as 50mbit:5"
              .formatted(name, SCENES.keySet().stream().sorted().toList()));
    }
    return new Scene(parts[0], parts.length == 1 ? 0 : Integer.parseInt(parts[1]), 1, 0);
  }

  private static Means setting(String name) {
    Means known = Means.ofQemu().get(name);
    if (known == null) {
      throw new CliException(
          "'%s' is no setting of QEMU to compare with: one of %s"
              .formatted(name, Means.ofQemu().keySet()));
    }
    return known;
  }
}
