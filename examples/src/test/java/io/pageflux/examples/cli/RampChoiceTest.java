package io.pageflux.examples.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.convergence.RampedDowntime.Ramp;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine.TypeConversionException;

class RampChoiceTest {

  @Test
  void aRampIsTwoLimits() {
    assertThat(RampChoice.parse("150ms..1050ms")).isEqualTo(Ramp.DEFAULT);
    Ramp other = RampChoice.parse("0.5s..2s");
    assertThat(other.initial()).hasMillis(500);
    assertThat(other.greatest()).hasMillis(2000);
    assertThat(RampChoice.parse(RampChoice.text(other))).isEqualTo(other);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "..", "150ms", "150ms..", "150..1050", "2s..1s", "1s...2s"})
  void anythingElseIsRefused(String text) {
    assertThatThrownBy(() -> RampChoice.parse(text)).isInstanceOf(TypeConversionException.class);
  }
}
