package io.pageflux.examples.fault;

import io.pageflux.examples.fault.RunResult.Course;
import io.pageflux.examples.fault.RunResult.Kind;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * What came of runs.
 *
 * @param results of each
 * @param processes how many there were besides the bench's own
 * @param nanos how long all of it took
 */
record FaultSummary(List<RunResult> results, int processes, long nanos) {

  /** {@return the lines to show} */
  List<String> lines() {
    List<String> lines = new ArrayList<>();
    lines.add(
        Arrays.stream(Scenario.values())
            .filter(scenario -> scenario != Scenario.NOTHING && drawn(scenario).count() > 0)
            .map(scenario -> happened(scenario.toString(), () -> drawn(scenario)))
            .collect(Collectors.joining(", ", "happened, of those that were to: ", "")));
    lines.add(
        Arrays.stream(Mode.values())
            .filter(mode -> drawn(mode).count() > 0)
            .map(mode -> happened(mode.toString(), () -> drawn(mode)))
            .collect(Collectors.joining(", ", "in migrations by: ", "")));
    for (Course course : Course.values()) {
      long count = results.stream().filter(result -> result.course() == course).count();
      if (count > 0) {
        lines.add("%5d %s".formatted(count, course.text()));
      }
    }
    long[] millis = results.stream().mapToLong(r -> r.nanos() / 1_000_000).sorted().toArray();
    lines.add(
        "%d runs, %d with something that happened, %d in %d processes, in %.1f s: a run took %d ms in the median, %d ms at most"
            .formatted(
                results.size(),
                results.stream().filter(RunResult::struck).count(),
                results.stream().filter(r -> r.run().sides() == FaultRun.Sides.PROCESSES).count(),
                processes,
                nanos / 1e9,
                millis.length == 0 ? 0 : millis[millis.length / 2],
                millis.length == 0 ? 0 : millis[millis.length - 1]));
    lines.add(
        Arrays.stream(Kind.values())
            .map(kind -> count(kind) + " " + kind.text())
            .collect(Collectors.joining(", ")));
    return lines;
  }

  private static String happened(String what, Supplier<Stream<RunResult>> drawn) {
    return "%s %d of %d"
        .formatted(what, drawn.get().filter(RunResult::struck).count(), drawn.get().count());
  }

  private Stream<RunResult> drawn(Scenario scenario) {
    return results.stream().filter(result -> result.run().scenario() == scenario);
  }

  private Stream<RunResult> drawn(Mode mode) {
    return results.stream()
        .filter(result -> result.run().scenario() != Scenario.NOTHING)
        .filter(result -> result.run().mode() == mode);
  }

  private long count(Kind kind) {
    return results.stream()
        .filter(result -> result.findings().stream().anyMatch(found -> found.kind() == kind))
        .count();
  }
}
