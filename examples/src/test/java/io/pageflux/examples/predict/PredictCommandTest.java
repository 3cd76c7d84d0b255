package io.pageflux.examples.predict;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.examples.Main;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.Interruption;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PredictCommandTest {

  private final ByteArrayOutputStream out = new ByteArrayOutputStream();
  private final ByteArrayOutputStream err = new ByteArrayOutputStream();

  private int run(String... arguments) {
    Console console =
        new Console(
            new PrintStream(out, true, StandardCharsets.UTF_8),
            new PrintStream(err, true, StandardCharsets.UTF_8),
            new Interruption());
    List<String> all = new ArrayList<>(List.of("predict"));
    all.addAll(List.of(arguments));
    return Main.run(console, all.toArray(String[]::new));
  }

  @Test
  void itTellsOfEachRate() {
    assertThat(run("--demo=16m", "--dirty-rate=1m", "--duration=1s", "--rate=1k,1g", "--json=-"))
        .as("%s", err)
        .isZero();
    assertThat(out.toString(StandardCharsets.UTF_8))
        .contains("\"rate\" : 1024", "\"rate\" : 1073741824", "\"converges\"");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "--rate=0",
        "--rate=-5m",
        "--rate=fast",
        "--rate=,",
        "--rate=10m,0",
        "--rate=1g --duration=1ms",
        "--rate=1g --duration=9h",
        "--rate=1g --workers=0",
        "--rate=1g --memory=x",
        "--rate=1g --auto-converge",
        "--rate=1g --can-throttle --cpu-throttle-initial=5",
        "--rate=1m,1m,1m,1m,1m,1m,1m,1m,1m,1m,1m,1m,1m,1m,1m,1m,1m,1m,1m,1m,1m,1m,1m,1m,1m,1m,1m"
            + ",1m,1m,1m,1m,1m,1m"
      })
  void whatMakesNoSenseIsRefusedWithOneLine(String arguments) {
    List<String> all = new ArrayList<>(List.of("--demo=16m"));
    all.addAll(List.of(arguments.split(" ")));
    assertThat(run(all.toArray(String[]::new))).isEqualTo(2);
    assertThat(err.toString(StandardCharsets.UTF_8).strip()).startsWith("pageflux: ");
    assertThat(out.size()).isZero();
  }
}
