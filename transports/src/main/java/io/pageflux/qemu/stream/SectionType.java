package io.pageflux.qemu.stream;

import org.jspecify.annotations.Nullable;

/** The kinds of sections, and the byte that each begins with. */
public enum SectionType {
  /** The end of all sections. */
  EOF(0x00),
  /** The first section of something that is sent in several: RAM. */
  START(0x01),
  /** A further one. */
  PART(0x02),
  /** The last one. */
  END(0x03),
  /** The only section of a device. */
  FULL(0x04),
  /** A part of a device's section that may be missing. */
  SUBSECTION(0x05),
  /** What the devices' sections look like, as JSON. */
  DESCRIPTION(0x06),
  /** The sender's machine type. */
  CONFIGURATION(0x07),
  /** A command. */
  COMMAND(0x08),
  /** The end of a section. */
  FOOTER(0x7e);

  private final int code;

  SectionType(int code) {
    this.code = code;
  }

  /** {@return the byte} */
  public int code() {
    return code;
  }

  /** {@return the type with a byte from 0 to 255, or null if there is none} */
  public static @Nullable SectionType ofCode(int code) {
    for (SectionType type : values()) {
      if (type.code == code) {
        return type;
      }
    }
    return null;
  }
}
