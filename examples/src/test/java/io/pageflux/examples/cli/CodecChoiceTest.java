package io.pageflux.examples.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.OptionalInt;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine.TypeConversionException;

class CodecChoiceTest {

  @ParameterizedTest
  @CsvSource({
    "none, none",
    "xbzrle, xbzrle",
    "zstd, zstd:1",
    "zstd:-5, zstd:-5",
    "xbzrle+zstd:3, xbzrle+zstd:3",
    "ZSTD:19+XBZRLE, xbzrle+zstd:19",
  })
  void codecsCanBeCombined(String text, String meaning) {
    assertThat(CodecChoice.parse(text)).hasToString(meaning);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "gzip",
        "zstd:",
        "zstd:x",
        "zstd:23",
        "xbzrle+",
        "xbzrle+xbzrle",
        "zstd+zstd:1",
        "none+zstd",
        "zstd:99999999999"
      })
  void whatIsNoCodecIsRefused(String text) {
    assertThatThrownBy(() -> CodecChoice.parse(text)).isInstanceOf(TypeConversionException.class);
  }

  @ParameterizedTest
  @ValueSource(strings = {"xbzrle", "zlib", "", "zstd:99"})
  void whatIsNoCompressionIsRefused(String text) {
    assertThatThrownBy(() -> CodecChoice.parseCompression(text))
        .isInstanceOf(TypeConversionException.class);
  }

  @ParameterizedTest
  @CsvSource({"none, ", "zstd, 1", "zstd:7, 7"})
  void compressionIsALevelOrNothing(String text, Integer level) {
    assertThat(CodecChoice.parseCompression(text))
        .isEqualTo(level == null ? OptionalInt.empty() : OptionalInt.of(level));
  }
}
