package io.pageflux.qemu.multifd;

import java.nio.ByteBuffer;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;

/**
 * One zlib stream that goes on from packet to packet.
 *
 * <p><b>Memory bound:</b> zlib's window and tables, some 40 KiB outside of what Java counts.
 */
final class ZlibPayload implements PayloadDecoder {

  private final Inflater inflater = new Inflater();

  @Override
  public void decode(ByteBuffer in, ByteBuffer out) throws Damage {
    while (out.hasRemaining()) {
      int before = in.remaining();
      int n;
      try {
        inflater.setInput(in);
        n = inflater.inflate(out);
      } catch (DataFormatException e) {
        throw new Damage("zlib refuses it: " + e.getMessage(), e);
      }
      if (inflater.finished() || inflater.needsDictionary()) {
        throw new Damage("the zlib stream ends, or wants a dictionary: QEMU's goes on for ever");
      }
      if (n == 0) {
        if (!in.hasRemaining()) {
          return;
        }
        if (in.remaining() == before) {
          throw new Damage("zlib takes nothing of it");
        }
      }
    }
  }

  @Override
  public void close() {
    inflater.end();
  }
}
