package io.pageflux.qemu.multifd;

import java.nio.ByteBuffer;

/** Turns the payloads of one channel's packets, in their order, into the contents of pages. */
interface PayloadDecoder extends AutoCloseable {

  /** The payload cannot be decoded. */
  final class Damage extends Exception {
    private static final long serialVersionUID = 1L;

    Damage(String what) {
      super(what);
    }

    Damage(String what, Throwable cause) {
      super(what, cause);
    }
  }

  /**
   * Decodes until the output is full, or the input is used up and has nothing more to give. Either
   * may be empty.
   *
   * @param in the next bytes of the payload, of this packet only
   * @param out direct; never written beyond its limit
   */
  void decode(ByteBuffer in, ByteBuffer out) throws Damage;

  @Override
  void close();

  /** {@return a decoder for one channel} */
  static PayloadDecoder of(MultifdCompression compression) {
    return switch (compression) {
      case NONE -> new PlainPayload();
      case ZLIB -> new ZlibPayload();
      case ZSTD -> new ZstdPayload();
    };
  }

  /** The pages as they are. */
  final class PlainPayload implements PayloadDecoder {
    @Override
    public void decode(ByteBuffer in, ByteBuffer out) {
      int n = Math.min(in.remaining(), out.remaining());
      out.put(out.position(), in, in.position(), n).position(out.position() + n);
      in.position(in.position() + n);
    }

    @Override
    public void close() {}
  }
}
