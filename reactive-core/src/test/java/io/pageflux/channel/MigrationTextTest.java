package io.pageflux.channel;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.Locale;
import org.junit.jupiter.api.Test;

class MigrationTextTest {

  @Test
  void timesAreSaidTheSameWayEverywhere() {
    Locale before = Locale.getDefault(Locale.Category.FORMAT);
    Locale.setDefault(Locale.Category.FORMAT, Locale.GERMANY);
    try {
      assertThat(MigrationText.of(Duration.ofMillis(1500))).isEqualTo("1.5 s");
      assertThat(MigrationText.of(Duration.ofMillis(3000))).isEqualTo("3 s");
      assertThat(MigrationText.of(Duration.ofMillis(20))).isEqualTo("20 ms");
    } finally {
      Locale.setDefault(Locale.Category.FORMAT, before);
    }
  }
}
