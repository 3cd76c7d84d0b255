package io.pageflux.wire;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.page.SlabPool;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Whoever has hung up, wherever in the peer's stream he was then, hears that the peer has too. */
class WireLastWordTest {

  private final SlabPool pool = new SlabPool(2, Streams.GEOMETRY);

  @AfterEach
  void noSlabIsLeft() {
    assertThat(pool.outstanding()).isZero();
    pool.close();
  }

  /** The stream up to the end of the first FAILURE, behind which other records come. */
  private static int lastWordEnds(Streams.Builder stream) {
    for (int i = 0; i < stream.expected.size(); i++) {
      if (stream.expected.get(i) instanceof WireRecord.Failure) {
        return stream.ends.get(i);
      }
    }
    throw new AssertionError("no FAILURE");
  }

  @Test
  void itIsFoundFromEveryByteOn() {
    Streams.Builder stream = Streams.everything(pool, new Random(1));
    byte[] bytes = stream.bytes();
    int end = lastWordEnds(stream);
    for (int read = 0; read < end; read++) {
      try (WireReader reader = new WireReader()) {
        Streams.read(reader, pool, ByteBuffer.wrap(bytes, 0, read), new ArrayList<>());
        ByteBuffer rest = ByteBuffer.wrap(bytes, read, bytes.length - read);
        assertThat(reader.readLastWord(rest)).as("from byte %d on", read).isTrue();
        assertThat(rest.position()).as("from byte %d on", read).isEqualTo(end);
      }
    }
  }

  @Test
  void itIsFoundInSinglePiecesAndNoSlabIsHeldMeanwhile() {
    Streams.Builder stream = Streams.everything(pool, new Random(2));
    byte[] bytes = stream.bytes();
    int end = lastWordEnds(stream);
    for (int read = 0; read < end; read += 7) {
      try (WireReader reader = new WireReader()) {
        Streams.read(reader, pool, ByteBuffer.wrap(bytes, 0, read), new ArrayList<>());
        for (int i = read; i < end; i++) {
          assertThat(reader.readLastWord(ByteBuffer.wrap(bytes, i, 1))).isEqualTo(i == end - 1);
          assertThat(pool.outstanding()).isZero();
        }
      }
    }
  }

  @Test
  void nothingElseIsALastWord() {
    Streams.Builder stream = new Streams.Builder();
    stream.add(Streams.HELLO).add(new WireRecord.KeepAlive());
    stream.add(Streams.batch(pool, new Random(3), 0, Streams.zero(0), Streams.raw(2)));
    stream.add(new WireRecord.Running());
    try (WireReader reader = new WireReader()) {
      ByteBuffer in = ByteBuffer.wrap(stream.bytes());
      assertThat(reader.readLastWord(in)).isFalse();
      assertThat(in.hasRemaining()).isFalse();
    }
  }
}
