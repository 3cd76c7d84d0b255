package io.pageflux.qemu.stream;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.ByteBuffer;
import java.util.HexFormat;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class QemuFirstBytesTest {

  @ParameterizedTest
  @CsvSource({
    "5145564d00000003, MIGRATION",
    "5145564d, MIGRATION",
    "1122334400000001, MULTIFD_CHANNEL",
    "08000a00, RESUMED_POSTCOPY",
    "08000900, RESUMED_POSTCOPY",
    "08000000, FOREIGN",
    "08000c00, FOREIGN",
    "07000000, FOREIGN",
    "4d564551, FOREIGN",
    "47455420, FOREIGN",
    "00000000, FOREIGN"
  })
  void whoSpeaks(String hex, QemuFirstBytes who) {
    ByteBuffer bytes = ByteBuffer.wrap(HexFormat.of().parseHex(hex));
    assertThat(QemuFirstBytes.of(bytes)).isEqualTo(who);
    assertThat(bytes.position()).isZero();
  }
}
