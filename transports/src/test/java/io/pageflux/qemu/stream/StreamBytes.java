package io.pageflux.qemu.stream;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.zip.Deflater;

/** Puts a stream together byte by byte, from the format's description and not with the writer. */
final class StreamBytes {

  static final int PAGE = 4096;
  static final int ID = 7;

  private final ByteArrayOutputStream out = new ByteArrayOutputStream();

  /** A stream up to the records of a PART section: two blocks of 16 and 2 pages. */
  static StreamBytes upToPart() {
    return new StreamBytes()
        .header()
        .configuration("pc-i440fx-7.2")
        .start()
        .blocks()
        .eos()
        .footer()
        .part();
  }

  StreamBytes hex(String hex) {
    out.writeBytes(HexFormat.of().parseHex(hex.replace(" ", "")));
    return this;
  }

  StreamBytes bytes(byte... bytes) {
    out.writeBytes(bytes);
    return this;
  }

  StreamBytes u8(int value) {
    out.write(value);
    return this;
  }

  StreamBytes be16(int value) {
    return u8(value >> 8).u8(value);
  }

  StreamBytes be32(int value) {
    return be16(value >> 16).be16(value);
  }

  StreamBytes be64(long value) {
    return be32((int) (value >> 32)).be32((int) value);
  }

  StreamBytes name(String name) {
    byte[] bytes = name.getBytes(StandardCharsets.UTF_8);
    return u8(bytes.length).bytes(bytes);
  }

  StreamBytes header() {
    return hex("5145564d 00000003");
  }

  StreamBytes configuration(String machine) {
    return u8(7).be32(machine.length()).bytes(machine.getBytes(StandardCharsets.UTF_8));
  }

  StreamBytes command(int code, int... payload) {
    u8(8).be16(code).be16(payload.length);
    for (int b : payload) {
      u8(b);
    }
    return this;
  }

  StreamBytes start() {
    return u8(1).be32(ID).name("ram").be32(0).be32(4);
  }

  StreamBytes blocks() {
    be64(18L * PAGE | 4);
    return name("pc.ram").be64(16L * PAGE).name("pc.bios").be64(2L * PAGE);
  }

  StreamBytes part() {
    return u8(2).be32(ID);
  }

  StreamBytes end() {
    return u8(3).be32(ID);
  }

  StreamBytes eos() {
    return be64(0x10);
  }

  StreamBytes footer() {
    return u8(0x7e).be32(ID);
  }

  /** The rest of a stream after a section's records: EOS, END, end of file, empty description. */
  StreamBytes finish() {
    return eos().footer().end().eos().footer().hex("00 06 00000000");
  }

  StreamBytes record(long page, int flags) {
    return be64(page * PAGE | flags);
  }

  StreamBytes zero(String block, long page) {
    return record(page, 2).name(block).u8(0);
  }

  StreamBytes raw(String block, long page, byte[] contents) {
    return record(page, 8).name(block).bytes(contents);
  }

  StreamBytes rawContinued(long page, byte[] contents) {
    return record(page, 0x28).bytes(contents);
  }

  StreamBytes deltaContinued(long page, byte[] encoded) {
    return record(page, 0x60).u8(1).be16(encoded.length).bytes(encoded);
  }

  StreamBytes compressedContinued(long page, byte[] contents) {
    byte[] packed = deflate(contents);
    return record(page, 0x120).be32(packed.length).bytes(packed);
  }

  static byte[] deflate(byte[] contents) {
    Deflater zlib = new Deflater(1);
    try {
      zlib.setInput(contents);
      zlib.finish();
      byte[] room = new byte[contents.length + 64];
      byte[] packed = new byte[zlib.deflate(room)];
      System.arraycopy(room, 0, packed, 0, packed.length);
      return packed;
    } finally {
      zlib.end();
    }
  }

  /** A page with something in it that tells it from others. */
  static byte[] page(int seed) {
    byte[] page = new byte[PAGE];
    for (int i = 0; i < PAGE; i += 8) {
      page[i] = (byte) seed;
      page[i + 1] = (byte) (i >> 3);
    }
    return page;
  }

  int size() {
    return out.size();
  }

  byte[] toBytes() {
    return out.toByteArray();
  }

  ByteBuffer buffer() {
    return ByteBuffer.wrap(toBytes());
  }
}
