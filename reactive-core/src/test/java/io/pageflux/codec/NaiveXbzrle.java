package io.pageflux.codec;

import java.io.ByteArrayOutputStream;
import org.jspecify.annotations.Nullable;

/** The encoding byte by byte, as its description says it, to compare the fast one with. */
final class NaiveXbzrle {

  private NaiveXbzrle() {}

  /** Encodes a page; null means that it overflows. */
  static byte @Nullable [] encode(byte[] was, byte[] is, int capacity) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    int at = 0;
    while (at < is.length) {
      if (out.size() + 2 > capacity) {
        return null;
      }
      int equal = 0;
      while (at < is.length && was[at] == is[at]) {
        equal++;
        at++;
      }
      if (at == is.length) {
        break;
      }
      length(out, equal);
      if (out.size() + 2 > capacity) {
        return null;
      }
      int from = at;
      while (at < is.length && was[at] != is[at]) {
        at++;
      }
      length(out, at - from);
      if (out.size() + (at - from) > capacity) {
        return null;
      }
      out.write(is, from, at - from);
    }
    return out.toByteArray();
  }

  private static void length(ByteArrayOutputStream out, int length) {
    if (length < 128) {
      out.write(length);
    } else {
      out.write(length & 127 | 128);
      out.write(length >> 7);
    }
  }
}
