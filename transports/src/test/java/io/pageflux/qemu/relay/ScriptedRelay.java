package io.pageflux.qemu.relay;

import io.pageflux.page.BatchGeometry;
import io.pageflux.page.SlabPool;
import io.pageflux.transport.Connection;
import io.pageflux.transport.TransportBuffer;
import io.pageflux.wire.Feature;
import io.pageflux.wire.WireReader;
import io.pageflux.wire.WireRecord;
import io.pageflux.wire.WireWriter;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import reactor.core.publisher.Sinks;

/** The other relay: says whatever a test wants it to, and hangs up when it hears of a failure. */
final class ScriptedRelay implements AutoCloseable {

  final List<WireRecord> heard = new CopyOnWriteArrayList<>();
  private final Connection connection;
  private final WireWriter writer = new WireWriter();
  private final WireReader reader = new WireReader();
  private final SlabPool pool = new SlabPool(4, new BatchGeometry(128, 512 << 10));
  private final Sinks.Many<TransportBuffer> said = Sinks.many().unicast().onBackpressureBuffer();

  ScriptedRelay(Connection connection) {
    this.connection = connection;
    connection.send(said.asFlux()).subscribe(v -> {}, e -> {});
    connection.receive().subscribe(this::take, e -> {});
  }

  private void take(TransportBuffer buffer) {
    for (WireRecord record = reader.read(buffer.bytes());
        record != null;
        record = reader.read(buffer.bytes())) {
      heard.add(record);
      switch (record) {
        case WireRecord.Layout layout -> reader.expectPages(layout.layout(), pool, Feature.all());
        case WireRecord.Pages pages -> pages.batch().release();
        case WireRecord.Failure failure -> connection.dispose();
        default -> {}
      }
    }
    buffer.release();
  }

  ScriptedRelay says(WireRecord... records) {
    for (WireRecord record : records) {
      said.tryEmitNext(writer.write(record));
    }
    return this;
  }

  ScriptedRelay says(byte[] bytes) {
    said.tryEmitNext(TransportBuffer.of(ByteBuffer.wrap(bytes)));
    return this;
  }

  void hangUp() {
    connection.dispose();
  }

  @Override
  public void close() {
    connection.dispose();
    reader.close();
    pool.close();
  }
}
