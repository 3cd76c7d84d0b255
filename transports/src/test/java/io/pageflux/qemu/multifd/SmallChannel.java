package io.pageflux.qemu.multifd;

import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import java.io.ByteArrayOutputStream;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;

/**
 * The bytes of a short channel with everything in it.
 *
 * @param ends the lengths at which the channel may end
 */
record SmallChannel(byte[] bytes, Set<Integer> ends) {

  static SmallChannel of(MultifdCompression compression) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    Set<Integer> ends = new HashSet<>();
    try (SlabPool pool = new SlabPool(1, BatchGeometry.DEFAULT);
        MultifdPacketWriter writer = new MultifdPacketWriter(compression, 1, true, () -> 1)) {
      Random random = new Random(2);
      out.writeBytes(Channels.init(1));
      ends.add(out.size());
      for (int i = 0; i < 2; i++) {
        PageBatch batch =
            Channels.batch(pool, i, 5, random, PageKind.RAW, PageKind.ZERO, PageKind.RAW);
        out.writeBytes(Channels.bytes(writer.write(batch)));
        batch.release();
        ends.add(out.size());
        out.writeBytes(Channels.bytes(List.of(writer.sync())));
        ends.add(out.size());
      }
    }
    return new SmallChannel(out.toByteArray(), ends);
  }
}
