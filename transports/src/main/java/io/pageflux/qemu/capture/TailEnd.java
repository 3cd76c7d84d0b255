package io.pageflux.qemu.capture;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * Recognises the end of a stream in what comes after the RAM.
 *
 * <p>The devices' state does not say how long it is. Behind it QEMU sends the end marker and a
 * description of the devices: {@code 00}, {@code 06}, a length of 4 bytes, and a JSON object of
 * that length, which ends the stream. Each place that looks so is a candidate. It is dropped when a
 * byte comes that cannot be in a JSON text, when the braces close too early or not in time, and
 * when more bytes come after it. So a candidate that is none, in the middle of some device's state,
 * lasts until the next byte; whoever has to act on an end waits for a moment of silence first.
 *
 * <p>Source of the layout: QEMU, {@code migration/savevm.c}.
 *
 * <p><b>Memory bound:</b> a candidate ends with the next zero byte at the latest, so that the few
 * that can overlap (their marker and length) are all there are at a time.
 *
 * <p><b>Threading:</b> for one thread at a time.
 */
final class TailEnd {

  /** End marker, type, length and the first brace. */
  private static final int HEAD_BYTES = 7;

  private static final int MARKERS = 0x0006;

  /** The last bytes, the youngest in the lowest place. */
  private long last = -1;

  private long bytes;
  private final List<Candidate> candidates = new ArrayList<>(4);

  /** Takes the next bytes after the RAM. */
  void add(ByteBuffer piece) {
    while (piece.hasRemaining()) {
      add(piece.get());
    }
  }

  private void add(byte value) {
    for (int i = candidates.size() - 1; i >= 0; i--) {
      if (!candidates.get(i).take(value)) {
        candidates.remove(i);
      }
    }
    last = last << 8 | value & 0xff;
    bytes++;
    if (value == '{' && bytes >= HEAD_BYTES && (last >>> 40 & 0xffff) == MARKERS) {
      int length = (int) (last >>> 8);
      if (length > 1) { // as it is with the brace that has come
        candidates.add(new Candidate(length - 1));
      }
    }
  }

  /** {@return whether what has come so far ends with a whole description} */
  boolean isComplete() {
    return candidates.stream().anyMatch(Candidate::isWhole);
  }

  /** {@return whether the last byte could be the end marker of a stream without a description} */
  boolean endsWithMarker() {
    return bytes > 0 && (last & 0xff) == 0;
  }

  /** {@return how many bytes have come} */
  long bytes() {
    return bytes;
  }

  /** What may be a JSON object, from behind its first brace on. */
  private static final class Candidate {

    private int left;
    private int depth = 1;
    private boolean inText;
    private boolean escaped;

    Candidate(int left) {
      this.left = left;
    }

    boolean isWhole() {
      return left == 0;
    }

    /** Takes a byte. {@return whether this may still be one} */
    boolean take(byte value) {
      return left-- > 0 && fits(value) && (left > 0 || depth == 0);
    }

    private boolean fits(byte value) {
      if (inText) {
        inText = escaped || value != '"';
        escaped = !escaped && value == '\\';
        return value < 0 || value >= ' '; // UTF-8, and no control characters
      }
      if (value == ' ' || value == '\t' || value == '\r' || value == '\n') {
        return true;
      }
      if (depth == 0 || value < ' ') {
        return false;
      }
      switch (value) {
        case '"' -> inText = true;
        case '{', '[' -> depth++;
        case '}', ']' -> depth--;
        default -> {}
      }
      return true;
    }
  }
}
