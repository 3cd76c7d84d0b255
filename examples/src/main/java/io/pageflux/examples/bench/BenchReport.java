package io.pageflux.examples.bench;

import java.io.PrintStream;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Prints results as they come, and keeps them for the report in JSON. */
final class BenchReport {

  private final PrintStream out;
  private final List<Map<String, Object>> results = new ArrayList<>();
  private boolean allMet = true;

  BenchReport(PrintStream out) {
    this.out = out;
  }

  /** Ours beside a rival's, and the ratio of both against what it is to be at least. */
  void compare(
      String what, Figures ours, String rival, Figures theirs, Figures ratio, double target) {
    boolean met = ratio.median() >= target;
    out.printf("%s%n", what);
    out.printf("  %-50s %s%n", "Pageflux", ours);
    out.printf("  %-50s %s%n", rival, theirs);
    out.printf("  %-50s %s, at least %.2f wanted: %s%n", "ratio", ratio, target, word(met));
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("what", what);
    result.put("ours", ours.median());
    result.put("rival", rival);
    result.put("theirs", theirs.median());
    result.put("ratio", ratio.median());
    result.put("ratio-min", ratio.min());
    result.put("ratio-max", ratio.max());
    result.put("target", target);
    keep(result, met);
  }

  /** A figure against what it is to be at the most or at the least. */
  void figure(String what, String unit, Figures figures, double target, boolean atMost) {
    boolean met = atMost ? figures.median() <= target : figures.median() >= target;
    out.printf("%s%n", what);
    out.printf(
        "  %-50s %s, at %s %.2f wanted: %s%n",
        unit, figures, atMost ? "most" : "least", target, word(met));
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("what", what);
    result.put("unit", unit);
    result.put("value", figures.median());
    result.put("target", target);
    keep(result, met);
  }

  private void keep(Map<String, Object> result, boolean met) {
    result.put("met", met);
    results.add(result);
    allMet &= met;
    out.flush();
  }

  private static String word(boolean met) {
    return met ? "met" : "MISSED";
  }

  List<Map<String, Object>> results() {
    return results;
  }

  boolean allMet() {
    return allMet;
  }
}
