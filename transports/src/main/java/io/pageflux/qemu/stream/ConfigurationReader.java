package io.pageflux.qemu.stream;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/** Reads the configuration section, whose type byte has been read, with its subsections. */
final class ConfigurationReader {

  private enum State {
    LENGTH,
    MACHINE,
    NEXT,
    SUBSECTION,
    SUBSECTION_NAME,
    COUNT,
    CAPABILITY_LENGTH,
    CAPABILITY,
    PAGE_BITS,
    UUID,
  }

  private final Piece piece;
  private State state = State.LENGTH;
  private int wanted = 5;
  private int length;
  private int left;

  private String machineType = "";
  private final List<String> capabilities = new ArrayList<>();
  private boolean capabilitiesRead;
  private OptionalInt pageBits = OptionalInt.empty();
  private @Nullable UUID uuid;

  ConfigurationReader(Piece piece) {
    this.piece = piece;
  }

  /** Goes on reading. {@return the section, or null if the bytes do not suffice} */
  QemuElement.@Nullable Configuration read(ByteBuffer in) {
    while (true) {
      if (state == State.NEXT) {
        // Nothing says how many subsections there are, so the next byte is looked at, not taken.
        if (!in.hasRemaining()) {
          return null;
        }
        if (in.get(in.position()) != QemuFormat.SUBSECTION) {
          long start = piece.start();
          return new QemuElement.Configuration(
              piece.take(), start, machineType, List.copyOf(capabilities), pageBits, uuid);
        }
        want(State.SUBSECTION, 2);
      }
      if (!piece.fill(in, wanted)) {
        return null;
      }
      step();
    }
  }

  private void want(State next, int bytes) {
    state = next;
    wanted = piece.size() + bytes;
  }

  private void step() {
    int size = piece.size();
    switch (state) {
      case LENGTH -> {
        length = piece.i32(1);
        if (length < 0 || length > QemuFormat.MAX_MACHINE_TYPE_BYTES) {
          throw piece.protocol(
              1,
              "a machine type of %d bytes, where at most %d may be: the stream is damaged"
                  .formatted(length & 0xFFFF_FFFFL, QemuFormat.MAX_MACHINE_TYPE_BYTES));
        }
        want(State.MACHINE, length);
      }
      case MACHINE -> {
        machineType = piece.text(5, length, "the machine type");
        state = State.NEXT;
      }
      case SUBSECTION -> {
        length = piece.u8(size - 1);
        want(State.SUBSECTION_NAME, length + 4);
      }
      case SUBSECTION_NAME -> beginSubsection(size - 4 - length, size - 4);
      case COUNT -> {
        left = piece.i32(size - 4);
        if (left < 0 || left > QemuFormat.MAX_CAPABILITIES) {
          throw piece.protocol(
              size - 4,
              "%d capabilities, where at most %d may be: the stream is damaged"
                  .formatted(left & 0xFFFF_FFFFL, QemuFormat.MAX_CAPABILITIES));
        }
        nextCapability();
      }
      case CAPABILITY_LENGTH -> {
        length = piece.u8(size - 1);
        want(State.CAPABILITY, length);
      }
      case CAPABILITY -> {
        String name = piece.text(size - length, length, "a capability's name");
        if (!name.equals(QemuFormat.IGNORE_SHARED)) {
          throw piece.protocol(size - length, "capability '%s' %s".formatted(name, why(name)));
        }
        capabilities.add(name);
        left--;
        nextCapability();
      }
      case PAGE_BITS -> {
        int bits = piece.i32(size - 4);
        if (bits < QemuFormat.MIN_PAGE_BITS || bits > QemuFormat.MAX_PAGE_BITS) {
          throw piece.protocol(
              size - 4,
              "target pages of 2^%d bytes, where 2^%d to 2^%d can be read"
                  .formatted(
                      bits & 0xFFFF_FFFFL, QemuFormat.MIN_PAGE_BITS, QemuFormat.MAX_PAGE_BITS));
        }
        pageBits = OptionalInt.of(bits);
        state = State.NEXT;
      }
      case UUID -> {
        uuid = new UUID(piece.i64(size - 16), piece.i64(size - 8));
        state = State.NEXT;
      }
      case NEXT -> throw new IllegalStateException();
    }
  }

  private static String why(String capability) {
    return capability.equals(QemuFormat.MAPPED_RAM)
        ? "puts pages at fixed places of a file: save the guest without it"
        : "is not known, and may change the format: switch it off at the source";
  }

  private void nextCapability() {
    if (left == 0) {
      state = State.NEXT;
    } else {
      want(State.CAPABILITY_LENGTH, 1);
    }
  }

  private void beginSubsection(int nameAt, int versionAt) {
    String name = piece.text(nameAt, length, "a subsection's name");
    boolean known =
        switch (name) {
          case "configuration/capabilities" -> {
            want(State.COUNT, 4);
            boolean first = !capabilitiesRead;
            capabilitiesRead = true;
            yield first;
          }
          case "configuration/target-page-bits" -> {
            want(State.PAGE_BITS, 4);
            yield pageBits.isEmpty();
          }
          case "configuration/uuid" -> {
            want(State.UUID, 16);
            yield uuid == null;
          }
          default ->
              throw piece.protocol(
                  nameAt,
                  "subsection '%s' is not known, and nothing says how long it is".formatted(name));
        };
    if (!known) {
      throw piece.protocol(nameAt, "subsection '%s' comes twice".formatted(name));
    }
    if (piece.i32(versionAt) != 1) {
      throw piece.protocol(
          versionAt,
          "subsection '%s' has version %d, and only version 1 is known"
              .formatted(name, piece.i32(versionAt) & 0xFFFF_FFFFL));
    }
  }
}
