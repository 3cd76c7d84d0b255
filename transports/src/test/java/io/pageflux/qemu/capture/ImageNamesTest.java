package io.pageflux.qemu.capture;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;

class ImageNamesTest {

  @Test
  void aBlockIsCalledAsItIs() {
    assertThat(ImageNames.of(List.of("pc.ram", "pc.bios", "vga.vram")))
        .containsExactly("pc.ram", "pc.bios.ram", "vga.vram.ram");
  }

  @Test
  void noNameLeavesTheDirectory() {
    assertThat(
            ImageNames.of(
                List.of("/rom@etc/acpi/tables", "../../x", "..", "-rf", "a b\n\u00e4", ".ram", "")))
        .containsExactly(
            "_rom_etc_acpi_tables.ram",
            "_._.._x.ram",
            "_..ram",
            "_rf.ram",
            "a_b__.ram",
            "_ram.ram",
            ".ram");
  }

  @Test
  void differentBlocksHaveDifferentImages() {
    assertThat(ImageNames.of(List.of("a/b", "a:b", "a_b", "a_b-2", "a_b.ram")))
        .containsExactly("a_b.ram", "a_b-2.ram", "a_b-3.ram", "a_b-2-2.ram", "a_b-4.ram");
  }

  @Test
  void longNamesFit() {
    String most = "x".repeat(255);
    assertThat(ImageNames.of(List.of(most, most + "y")))
        .doesNotHaveDuplicates()
        .allMatch(name -> name.length() + CaptureFiles.PARTIAL.length() < 255);
  }
}
