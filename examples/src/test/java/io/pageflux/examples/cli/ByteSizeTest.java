package io.pageflux.examples.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine.TypeConversionException;

class ByteSizeTest {

  @ParameterizedTest
  @CsvSource({
    "0, 0",
    "4096, 4096",
    "1b, 1",
    "1k, 1024",
    "64m, 67108864",
    "64M, 67108864",
    "1.5g, 1610612736",
    "2t, 2199023255552",
    "9223372036854775807, 9223372036854775807",
  })
  void suffixesArePowersOf1024(String text, long bytes) {
    assertThat(ByteSize.parse(text).bytes()).isEqualTo(bytes);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"", "-1", "x", "1x", "1gb", "g", "1 g", "1.g", "9223372036854775808", "9t9"})
  void whatIsNoSizeIsRefused(String text) {
    assertThatThrownBy(() -> ByteSize.parse(text))
        .isInstanceOf(TypeConversionException.class)
        .hasMessageContaining("'" + text + "' is not a size");
  }

  @ParameterizedTest
  @CsvSource({
    "0, 0",
    "100m, 104857600",
    "100m/s, 104857600",
    "1g, 1073741824",
    "8bit, 1",
    "1gbit, 125000000",
    "1Gbit/s, 125000000",
    "100mbit, 12500000",
    "64kbit, 8000",
  })
  void ratesAreBytesUnlessTheySayBit(String text, long bytesPerSecond) {
    assertThat(ByteRate.parse(text).bytesPerSecond()).isEqualTo(bytesPerSecond);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "fast", "-5m", "1gbits", "1m/h", "bit"})
  void whatIsNoRateIsRefused(String text) {
    assertThatThrownBy(() -> ByteRate.parse(text))
        .isInstanceOf(TypeConversionException.class)
        .hasMessageContaining("'" + text + "' is not a rate");
  }

  @Test
  void sizesAreShownWithThreeDigits() {
    assertThat(Bytes.text(0)).isEqualTo("0 B");
    assertThat(Bytes.text(1023)).isEqualTo("1023 B");
    assertThat(Bytes.text(1536)).isEqualTo("1.50 KiB");
    assertThat(Bytes.text(100 << 20)).isEqualTo("100.0 MiB");
    assertThat(Bytes.rate(1L << 40)).isEqualTo("1.00 TiB/s");
  }
}
