package io.pageflux.examples.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine.TypeConversionException;

class DurationsTest {

  @ParameterizedTest
  @CsvSource({
    "300ms, PT0.3S",
    "2s, PT2S",
    "1.5S, PT1.5S",
    "1m, PT1M",
    "1min, PT1M",
    "2h, PT2H",
    "5us, PT0.000005S",
    "0ms, PT0S",
  })
  void durationsHaveUnits(String text, Duration duration) {
    assertThat(Durations.parse(text)).isEqualTo(duration);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "300", "ms", "-1s", "1d", "1s1ms", "99999999999h"})
  void whatIsNoDurationIsRefused(String text) {
    assertThatThrownBy(() -> Durations.parse(text))
        .isInstanceOf(TypeConversionException.class)
        .hasMessageContaining("'" + text + "' is not a duration");
  }

  @Test
  void aTimeoutOfNothingIsRefused() {
    assertThatThrownBy(() -> Durations.parsePositive("0s"))
        .isInstanceOf(TypeConversionException.class)
        .hasMessageContaining("more than 0");
  }

  @Test
  void durationsAreShownInAUnitThatFits() {
    assertThat(Durations.text(Duration.ofNanos(1_234_000))).isEqualTo("1.23 ms");
    assertThat(Durations.text(Duration.ofMillis(312))).isEqualTo("312 ms");
    assertThat(Durations.text(Duration.ofMillis(4561))).isEqualTo("4.56 s");
    assertThat(Durations.text(Duration.ofSeconds(125))).isEqualTo("2 min 5 s");
  }
}
