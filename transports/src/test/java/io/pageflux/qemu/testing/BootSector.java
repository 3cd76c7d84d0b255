package io.pageflux.qemu.testing;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * A guest of 512 bytes, which writes all of its memory for ever.
 *
 * <p>In 32-bit protected mode it first sets the first word (32 bit) of each 4 KiB page of a range
 * to zero, and prints {@code !} on the serial port. Then it adds one to each of these words, from
 * the first page to the last, prints a letter, and begins again. So the words tell, whenever one
 * looks, where it is: up to some page they have one value, and behind it one less. {@link #check}
 * says whether that is so, and it is not if a single page is of another time than the others.
 *
 * @param firstByte where the range begins; a multiple of 4 KiB from 1 MiB on
 * @param endByte where it ends; a multiple of 4 KiB
 * @param delay turns of an empty loop after each page; a million takes about a millisecond or more
 */
public record BootSector(int firstByte, int endByte, int delay) {

  /** The size of a page. */
  public static final int PAGE = 4096;

  /** What is printed when all words are zero, before the first pass. */
  public static final char READY = '!';

  private static final int ORIGIN = 0x7c00;
  private static final int SERIAL_PORT = 0x3f8;

  /**
   * Checks the range.
   *
   * @throws IllegalArgumentException if it is none
   */
  public BootSector {
    if (firstByte < 1 << 20 || endByte <= firstByte || (firstByte | endByte) % PAGE != 0) {
      throw new IllegalArgumentException(
          "no range of pages above 1 MiB: %#x to %#x".formatted(firstByte, endByte));
    }
  }

  /** {@return a guest that writes from 1 MiB on} */
  public static BootSector upToMiB(int endMiB) {
    return new BootSector(1 << 20, endMiB << 20, 0);
  }

  /** {@return this guest with another delay after each page} */
  public BootSector withDelay(int delay) {
    return new BootSector(firstByte, endByte, delay);
  }

  /** {@return how many pages it writes} */
  public int pages() {
    return (endByte - firstByte) / PAGE;
  }

  /** Writes a disk image to boot from. {@return its path} */
  public Path writeTo(Path image) throws IOException {
    return Files.write(image, assemble());
  }

  /** {@return the boot sector} */
  public byte[] assemble() {
    Assembler a = new Assembler();
    a.bytes(0xfa); // cli
    a.bytes(0x31, 0xc0); // xor ax, ax
    a.bytes(0x8e, 0xd8); // mov ds, ax
    a.bytes(0xe4, 0x92); // in al, 0x92      the A20 gate
    a.bytes(0x0c, 0x02); // or al, 2
    a.bytes(0x24, 0xfe); // and al, 0xfe     bit 0 would reset
    a.bytes(0xe6, 0x92); // out 0x92, al
    int lgdt = a.position() + 3;
    a.bytes(0x0f, 0x01, 0x16).word(0); // lgdt [gdtr]
    a.bytes(0x0f, 0x20, 0xc0); // mov eax, cr0
    a.bytes(0x0c, 0x01); // or al, 1
    a.bytes(0x0f, 0x22, 0xc0); // mov cr0, eax
    a.bytes(0xea).word(ORIGIN + a.position() + 4).word(0x08); // jmp 0x08:next
    // 32 bits from here on.
    a.bytes(0x66, 0xb8, 0x10, 0x00); // mov ax, 0x10
    a.bytes(0x8e, 0xd8); // mov ds, ax
    a.bytes(0x8e, 0xc0); // mov es, ax
    a.bytes(0x8e, 0xd0); // mov ss, ax
    a.bytes(0x66, 0xba).word(SERIAL_PORT); // mov dx, 0x3f8
    a.bytes(0xb3, 'A'); // mov bl, 'A'

    a.bytes(0xbf).dword(firstByte); // mov edi, first
    int zero = a.position();
    a.bytes(0xc7, 0x07).dword(0); // mov dword [edi], 0
    a.bytes(0x81, 0xc7).dword(PAGE); // add edi, 4096
    a.bytes(0x81, 0xff).dword(endByte); // cmp edi, end
    a.jump(0x72, zero); // jb zero
    a.bytes(0xb0, READY); // mov al, '!'
    a.bytes(0xee); // out dx, al

    int pass = a.position();
    a.bytes(0xbf).dword(firstByte); // mov edi, first
    int page = a.position();
    a.bytes(0xff, 0x07); // inc dword [edi]
    if (delay > 0) {
      a.bytes(0xb9).dword(delay); // mov ecx, delay
      int wait = a.position();
      a.bytes(0x49); // dec ecx
      a.jump(0x75, wait); // jnz wait
    }
    a.bytes(0x81, 0xc7).dword(PAGE); // add edi, 4096
    a.bytes(0x81, 0xff).dword(endByte); // cmp edi, end
    a.jump(0x72, page); // jb page
    a.bytes(0x88, 0xd8); // mov al, bl
    a.bytes(0xee); // out dx, al
    a.bytes(0xfe, 0xc3); // inc bl
    a.bytes(0x80, 0xfb, 'Z' + 1); // cmp bl, 'Z' + 1
    a.jump(0x72, pass); // jb pass
    a.bytes(0xb3, 'A'); // mov bl, 'A'
    a.jump(0xeb, pass); // jmp pass

    a.align(8);
    int gdt = a.position();
    a.dword(0).dword(0); // the null descriptor
    a.dword(0x0000ffff).dword(0x00cf9a00); // 0x08: code, 0 to 4 GiB, 32 bits
    a.dword(0x0000ffff).dword(0x00cf9200); // 0x10: data, 0 to 4 GiB
    a.wordAt(lgdt, ORIGIN + a.position());
    a.word(3 * 8 - 1).dword(ORIGIN + gdt); // the register's limit and base
    return a.sector();
  }

  /** {@return the generation of the first page: the highest there is} */
  public long generation(byte[] memory) {
    return word(memory, 0);
  }

  /**
   * Checks that memory is of one moment.
   *
   * @param memory what is in the range, from {@link #firstByte()} on
   * @throws AssertionError with the first page that does not fit
   */
  public void check(byte[] memory) {
    if (memory.length != endByte - firstByte) {
      throw new AssertionError(
          "%d bytes are no range of %d".formatted(memory.length, endByte - firstByte));
    }
    long highest = word(memory, 0);
    long before = highest;
    for (int page = 1; page < pages(); page++) {
      long here = word(memory, page);
      if (here > before || here < highest - 1) {
        throw new AssertionError(
            "page %d of %d (at %#x) has generation %d, but the one before %d and the first %d"
                .formatted(page, pages(), firstByte + page * PAGE, here, before, highest));
      }
      before = here;
    }
  }

  private static long word(byte[] memory, int page) {
    return Integer.toUnsignedLong(
        ByteBuffer.wrap(memory).order(ByteOrder.LITTLE_ENDIAN).getInt(page * PAGE));
  }

  /** Bytes one after the other, little-endian. */
  private static final class Assembler {

    private final ByteBuffer code = ByteBuffer.allocate(512).order(ByteOrder.LITTLE_ENDIAN);

    int position() {
      return code.position();
    }

    Assembler bytes(int... bytes) {
      for (int b : bytes) {
        code.put((byte) b);
      }
      return this;
    }

    Assembler word(int value) {
      code.putShort((short) value);
      return this;
    }

    Assembler dword(int value) {
      code.putInt(value);
      return this;
    }

    void wordAt(int position, int value) {
      code.putShort(position, (short) value);
    }

    /** A short jump backwards. */
    void jump(int opcode, int target) {
      int distance = target - (position() + 2);
      if (distance < Byte.MIN_VALUE) {
        throw new IllegalStateException("too far for a short jump: " + distance);
      }
      bytes(opcode, distance);
    }

    void align(int bytes) {
      while (position() % bytes != 0) {
        bytes(0);
      }
    }

    byte[] sector() {
      code.putShort(510, (short) 0xaa55); // what makes it one that can be booted
      return code.array();
    }
  }
}
