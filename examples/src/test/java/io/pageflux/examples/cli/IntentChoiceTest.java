package io.pageflux.examples.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.convergence.Intent;
import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine.TypeConversionException;

class IntentChoiceTest {

  @Test
  void thereAreThreeIntents() {
    assertThat(IntentChoice.parse("short-downtime")).isEqualTo(new Intent.ShortDowntime());
    assertThat(IntentChoice.parse(" Short-Migration")).isEqualTo(new Intent.ShortMigration());
    assertThat(IntentChoice.parse("finish-within=1.5s"))
        .isEqualTo(new Intent.FinishWithin(Duration.ofMillis(1500)));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "fast",
        "finish-within",
        "finish-within=",
        "finish-within=0s",
        "finish-within=5"
      })
  void anythingElseIsRefused(String text) {
    assertThatThrownBy(() -> IntentChoice.parse(text)).isInstanceOf(TypeConversionException.class);
  }

  @ParameterizedTest
  @ValueSource(strings = {"short-downtime", "short-migration", "finish-within=30s"})
  void anIntentIsReadAsItIsWritten(String text) {
    Intent intent = IntentChoice.parse(text);
    assertThat(IntentChoice.parse(IntentChoice.text(intent))).isEqualTo(intent);
    assertThat(intent).hasToString(text);
  }
}
