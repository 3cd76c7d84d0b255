package io.pageflux.examples.bench.qemu;

import io.pageflux.examples.bench.Figures;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Measures scenes one after the other. In each, every setting of QEMU's own is tried once to find
 * the best of them; then QEMU's defaults, that one and warm relays move the same guest in turns,
 * and cold relays, new for each migration, after them.
 *
 * <p>The total time ends when the guest runs at the destination, by a clock outside: what the
 * source's QEMU says leaves out what is still in its socket, unless it has a return path, which the
 * relays need.
 */
final class QemuBench {

  private static final double MORE_DOWNTIME_MILLIS = 50;

  private final BenchGuest.Kind idle;
  private final List<Means> own;
  private final int repeat;
  private final int warmUp;
  private final Duration timeout;
  private final PrintStream out;
  private final List<Map<String, Object>> results = new ArrayList<>();
  private boolean allMet = true;

  /**
   * Makes a bench.
   *
   * @param own the settings of QEMU of which the best is looked for
   */
  QemuBench(
      BenchGuest.Kind idle,
      List<Means> own,
      int repeat,
      int warmUp,
      Duration timeout,
      PrintStream out) {
    this.idle = idle;
    this.own = own;
    this.repeat = repeat;
    this.warmUp = warmUp;
    this.timeout = timeout;
    this.out = out;
  }

  void run(List<Scene> scenes, ShapedLink link) throws IOException {
    Path directory = Files.createTempDirectory("pageflux-bench");
    try {
      try (RelayPair relays = RelayPair.start(link, directory)) {
        warmUp(relays, link, directory);
        for (Scene scene : scenes) {
          compare(scene, relays, link, directory);
        }
      }
      // One pair of relays at a time: they listen at the same addresses.
      for (Scene scene : scenes) {
        moveByColdRelays(scene, link, directory);
      }
    } finally {
      try (Stream<Path> files = Files.list(directory)) {
        for (Path file : files.toList()) {
          Files.deleteIfExists(file);
        }
      }
      Files.deleteIfExists(directory);
    }
  }

  private BenchGuest.Kind guest(Scene scene) {
    return new BenchGuest.Kind(
        idle.directory(), idle.memoryMib(), idle.fillMib(), scene.rewrittenPerSecond());
  }

  private void warmUp(RelayPair relays, ShapedLink link, Path directory) throws IOException {
    if (warmUp == 0) {
      return;
    }
    out.printf("Warming up the relays with %d migrations%n", warmUp);
    out.flush();
    link.shape(ShapedLink.UNLIMITED);
    Mover mover = new Mover(link, directory, idle, timeout);
    for (int i = 0; i < warmUp; i++) {
      mover.move(Means.WARM_RELAYS, relays);
    }
  }

  private void compare(Scene scene, RelayPair relays, ShapedLink link, Path directory)
      throws IOException {
    out.printf("%n%s%n", scene);
    link.shape(scene.rate());
    Mover mover = new Mover(link, directory, guest(scene), timeout);
    Means best = bestOfOwn(mover, relays);
    List<Series> all =
        Stream.of(Means.DEFAULTS, best, Means.WARM_RELAYS).distinct().map(Series::new).toList();
    for (int i = 0; i < repeat; i++) {
      for (Series series : all) {
        add(series, mover, relays);
      }
    }
    all.forEach(series -> tell(scene, series));
    judge(scene, all.getFirst(), all.get(all.size() - 2), all.getLast());
  }

  private Means bestOfOwn(Mover mover, RelayPair relays) throws IOException {
    Map<Means, Move> tried = new LinkedHashMap<>();
    for (Means means : own) {
      Move move = moved(mover, means, relays);
      if (move != null) {
        tried.put(means, move);
      }
    }
    return tried.entrySet().stream()
        .min(Comparator.comparingDouble(e -> e.getValue().arrivedMillis()))
        .map(Map.Entry::getKey)
        .orElse(Means.DEFAULTS);
  }

  private void moveByColdRelays(Scene scene, ShapedLink link, Path directory) throws IOException {
    out.printf("%n%s, cold relays%n", scene);
    link.shape(scene.rate());
    Series cold = new Series(Means.COLD_RELAYS);
    Mover mover = new Mover(link, directory, guest(scene), timeout);
    for (int i = 0; i < repeat; i++) {
      try (RelayPair relays = RelayPair.start(link, directory)) {
        add(cold, mover, relays);
      }
    }
    tell(scene, cold);
  }

  private void add(Series series, Mover mover, RelayPair relays) throws IOException {
    Move move = moved(mover, series.means(), relays);
    if (move != null) {
      series.add(move);
    }
  }

  private @Nullable Move moved(Mover mover, Means means, RelayPair relays) throws IOException {
    Move move = mover.move(means, relays);
    out.printf(
        "  %-20s %s%n", means, move == null ? "not within " + timeout.toSeconds() + " s" : move);
    out.flush();
    return move;
  }

  private void judge(Scene scene, Series defaults, Series best, Series warm) {
    if (Stream.of(defaults, best, warm).anyMatch(series -> series.moves().isEmpty())) {
      out.println("  not comparable: not all of them move this guest in time");
      allMet = false;
      return;
    }
    target("total time to QEMU's defaults", ratio(warm, defaults), scene.defaultsTarget());
    if (scene.bestTarget() > 0) {
      target("total time to " + best.means(), ratio(warm, best), scene.bestTarget());
    }
    out.printf(
        "  the same by what QEMU says: %.2f and %.2f%n",
        saidRatio(warm, defaults), saidRatio(warm, best));
    target(
        "bytes on the wire to " + best.means(),
        warm.wireMegabytes().median() / best.wireMegabytes().median(),
        1);
    target(
        "ms of downtime more than QEMU's defaults, as QEMU says",
        warm.downtime().median() - defaults.downtime().median(),
        MORE_DOWNTIME_MILLIS);
    target(
        "ms of downtime more than QEMU's defaults, seen from outside",
        warm.silence().median() - defaults.silence().median(),
        MORE_DOWNTIME_MILLIS);
  }

  private static double ratio(Series ours, Series theirs) {
    return ours.seconds().median() / theirs.seconds().median();
  }

  private static double saidRatio(Series ours, Series theirs) {
    return ours.secondsAsQemuSays().median() / theirs.secondsAsQemuSays().median();
  }

  private void tell(Scene scene, Series series) {
    out.printf("  %s, %d migrations%n", series.means(), series.moves().size());
    if (!series.moves().isEmpty()) {
      cell("total time, s", series.seconds());
      cell("total time as QEMU says, s", series.secondsAsQemuSays());
      cell("on the wire, MB", series.wireMegabytes());
      cell("downtime as QEMU says, ms", series.downtime());
      cell("downtime seen from outside, ms", series.silence());
    }
    out.flush();
    results.add(
        Map.of(
            "scene", scene.toString(),
            "means", series.means().toString(),
            "migrations", series.moves().stream().map(Move::json).toList()));
  }

  private void cell(String what, Figures figures) {
    out.printf("    %-40s %s%n", what, figures);
  }

  private void target(String what, double value, double most) {
    boolean met = value <= most;
    allMet &= met;
    out.printf(
        "  %-62s %.2f, at most %.2f wanted: %s%n", what, value, most, met ? "met" : "MISSED");
    out.flush();
  }

  List<Map<String, Object>> results() {
    return results;
  }

  boolean allMet() {
    return allMet;
  }
}
