package io.pageflux.examples.report;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import org.junit.jupiter.api.Test;

class ProgressDisplayTest {

  private final ByteArrayOutputStream shown = new ByteArrayOutputStream();
  private final PrintStream err = new PrintStream(shown, true);

  private static ObjectNode info(long total, long remaining, double mbps) {
    ObjectNode info = JsonNodeFactory.instance.objectNode().put("status", "active");
    info.putObject("ram").put("total", total).put("remaining", remaining).put("mbps", mbps);
    return info;
  }

  @Test
  void aLineSaysHowMuchIsLeftAndHowFastItGoes() {
    assertThat(ProgressDisplay.line(info(1 << 30, 1 << 28, 800), 1, true))
        .isEqualTo("[#########...]  75 %  round 1  256.0 MiB left  95.37 MiB/s");
    assertThat(ProgressDisplay.line(info(1 << 30, 0, 0), 2, false))
        .isEqualTo("100 %  round 2  0 B left  0 B/s");
    assertThat(ProgressDisplay.line(info(0, 0, 0), 0, false)).isEqualTo("  0 %  active");
  }

  @Test
  void aLineSaysWhatAPauseWouldTakeAndHowTheGuestIsThrottled() {
    ObjectNode info =
        info(1 << 30, 1 << 28, 800)
            .put("expected-downtime", 1230)
            .put("cpu-throttle-percentage", 20);
    assertThat(ProgressDisplay.line(info, 12, true))
        .isEqualTo(
            "[#########...]  75 %  round 12  256.0 MiB left  95.37 MiB/s  pause 1.23 s  -20 %"
                .substring(0, 79));
    assertThat(ProgressDisplay.line(info, 2, false))
        .isEqualTo(" 75 %  round 2  256.0 MiB left  95.37 MiB/s  pause 1.23 s  -20 %");
  }

  @Test
  void aLineSaysWhatIsToBeSentAndWhetherThereIsProgress() {
    ObjectNode info = info(1 << 30, 1 << 28, 800);
    ObjectNode convergence = info.putObject("convergence").put("remaining-wire", 1 << 20);
    assertThat(ProgressDisplay.line(info, 3, false))
        .isEqualTo(" 75 %  round 3  1.00 MiB to send  95.37 MiB/s");
    convergence.put("stalled-rounds", 1);
    assertThat(ProgressDisplay.line(info, 3, false)).doesNotContain("stalled");
    convergence.put("stalled-rounds", 2);
    assertThat(ProgressDisplay.line(info, 3, false)).endsWith("  stalled");
    // The policy is not asked any more: what it was asked with last is old.
    info.put("status", "device");
    assertThat(ProgressDisplay.line(info, 3, false)).contains("256.0 MiB left");
  }

  @Test
  void aLineFitsATerminal() {
    assertThat(ProgressDisplay.line(info(1L << 60, (1L << 60) - 1, 8e9), 12345, true))
        .hasSizeLessThan(80);
  }

  @Test
  void onATerminalALineIsWrittenOverAndRemoved() {
    ProgressDisplay display = new ProgressDisplay(err, true, false);
    display.show(info(1 << 30, 1 << 28, 800), 1);
    int length = shown.size() - 1;
    display.show(info(1 << 30, 0, 0), 2);
    display.clear();

    String[] lines = shown.toString().split("\r");
    assertThat(lines).hasSize(4);
    assertThat(lines[2]).hasSize(length).endsWith("  ");
    assertThat(lines[3]).isBlank();
    assertThat(shown.toString()).doesNotContain("\n", "\u001B");
  }

  @Test
  void coloursAreUsedOnlyIfAllowed() {
    new ProgressDisplay(err, true, true).show(info(1 << 30, 1 << 28, 800), 1);
    assertThat(shown.toString()).contains("\u001B[32m[###", "]\u001B[0m");
  }

  @Test
  void elsewhereNothingIsShownAtFirst() {
    ProgressDisplay display = new ProgressDisplay(err, false, true);
    display.show(info(1 << 30, 1 << 28, 800), 1);
    display.clear();
    assertThat(shown.toString()).isEmpty();
  }
}
