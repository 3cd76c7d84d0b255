package io.pageflux.qemu.postcopy;

import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import io.pageflux.qemu.stream.QemuCommand;
import io.pageflux.qemu.stream.QemuElement;
import io.pageflux.qemu.stream.QemuReturnWriter;
import io.pageflux.qemu.stream.QemuStreamReader;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.TransportBuffer;
import java.io.ByteArrayOutputStream;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.BaseSubscriber;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/**
 * What a destination's QEMU does of a post-copy, and whatever a test wants it to say besides. It
 * reads everything, and nothing is placed twice.
 */
final class FakeDestination implements Connector, AutoCloseable {

  static final BatchGeometry GEOMETRY = new BatchGeometry(8, 32 << 10);

  /** A page as it came. */
  record Placed(String block, long page) {}

  final List<Placed> placed = new ArrayList<>();
  final Map<Placed, byte[]> contents = new LinkedHashMap<>();
  final ByteArrayOutputStream devices = new ByteArrayOutputStream();
  final List<QemuCommand> commands = new ArrayList<>();
  final List<String> faults = new ArrayList<>();
  private final Sinks.Many<TransportBuffer> back = Sinks.many().unicast().onBackpressureBuffer();
  private final SlabPool pool = new SlabPool(2, GEOMETRY);
  private final QemuStreamReader reader = QemuStreamReader.withPostcopy(GEOMETRY, 4096);
  private Consumer<FakeDestination> onConnected = fake -> {};
  private Consumer<FakeDestination> onPackage = fake -> {};
  private BiConsumer<FakeDestination, Placed> onPage = (fake, page) -> {};
  private boolean answersPings = true;
  private boolean shuts = true;
  private int shutValue;
  private boolean packaged;
  private @Nullable Connection connection;

  FakeDestination onConnected(Consumer<FakeDestination> action) {
    onConnected = action;
    return this;
  }

  /** What it does when the first bytes of the devices' state have come. */
  FakeDestination onPackage(Consumer<FakeDestination> action) {
    onPackage = action;
    return this;
  }

  /** What it does when a page has come. */
  FakeDestination onPage(BiConsumer<FakeDestination, Placed> action) {
    onPage = action;
    return this;
  }

  FakeDestination withoutPongs() {
    answersPings = false;
    return this;
  }

  FakeDestination withShut(int value) {
    shutValue = value;
    return this;
  }

  FakeDestination withoutShut() {
    shuts = false;
    return this;
  }

  @Override
  public Mono<Connection> connect() {
    return Mono.fromCallable(
        () -> {
          InMemoryTransport.Pair pair = InMemoryTransport.pair();
          Connection ours = pair.second();
          connection = ours;
          ours.send(back.asFlux()).subscribe(v -> {}, e -> {});
          ours.receive()
              .subscribe(
                  new BaseSubscriber<>() {
                    @Override
                    protected void hookOnNext(TransportBuffer buffer) {
                      try {
                        take(buffer.bytes());
                      } finally {
                        buffer.release();
                      }
                    }
                  });
          onConnected.accept(this);
          return pair.first();
        });
  }

  private void take(ByteBuffer in) {
    while (true) {
      QemuElement element = reader.read(in);
      if (element != null) {
        take(element);
      } else if (reader.needsSlab()) {
        reader.supply(Objects.requireNonNull(pool.tryAcquire()));
      } else if (reader.isHandedOver() && reader.flush() instanceof QemuElement pages) {
        take(pages);
      } else {
        return;
      }
    }
  }

  private void take(QemuElement element) {
    switch (element) {
      case QemuElement.Command command -> {
        commands.add(command.command());
        if (command.command() == QemuCommand.PING && answersPings) {
          raw(QemuReturnWriter.pong(command.payload().getInt()));
        }
      }
      case QemuElement.Packaged piece -> {
        ByteBuffer raw = piece.raw();
        while (raw.hasRemaining()) {
          devices.write(raw.get());
        }
        if (!packaged) {
          packaged = true;
          onPackage.accept(this);
        }
        // It ends with a ping and RUN.
        byte[] all = devices.toByteArray();
        if (all.length == SyntheticCapture.DEVICES_BYTES + 5 + 9 + 5 && answersPings) {
          raw(QemuReturnWriter.pong(ByteBuffer.wrap(all).getInt(all.length - 9)));
        }
      }
      case QemuElement.SectionStart start -> {
        if (start.id() != SyntheticCapture.SECTION_ID) {
          faults.add("the RAM has section " + start.id());
        }
      }
      case QemuElement.Pages pages -> place(pages.batch());
      case QemuElement.DeviceTail tail -> {
        if (shuts) {
          shut(shutValue);
        }
      }
      default -> {}
    }
  }

  private void place(PageBatch batch) {
    long at = batch.payloadOffset();
    for (int i = 0; i < batch.size(); i++) {
      Placed page = new Placed(batch.block().name(), batch.page(i));
      byte[] bytes = new byte[batch.pageSizeBytes()];
      if (batch.kind(i) == PageKind.RAW) {
        MemorySegment.copy(batch.slab(), at, MemorySegment.ofArray(bytes), 0, bytes.length);
        at += bytes.length;
      }
      if (contents.put(page, bytes) != null) {
        faults.add(page + " came twice");
      }
      placed.add(page);
    }
    batch.release();
    placed.subList(placed.size() - batch.size(), placed.size()).stream()
        .toList()
        .forEach(page -> onPage.accept(this, page));
  }

  /** Sends a message, be it one that no writer makes. */
  void say(int type, ByteBuffer payload) {
    raw(
        ByteBuffer.allocate(4 + payload.remaining())
            .putShort((short) type)
            .putShort((short) payload.remaining())
            .put(payload)
            .flip());
  }

  /** Sends bytes. */
  void raw(ByteBuffer bytes) {
    back.emitNext(
        TransportBuffer.of(bytes),
        Sinks.EmitFailureHandler.busyLooping(java.time.Duration.ofSeconds(10)));
  }

  void shut(int value) {
    raw(QemuReturnWriter.shut(value));
  }

  /** Requests pages, and names the block. */
  void request(String block, long start, int bytes) {
    byte[] name = block.getBytes(StandardCharsets.UTF_8);
    say(
        3,
        ByteBuffer.allocate(13 + name.length)
            .putLong(start)
            .putInt(bytes)
            .put((byte) name.length)
            .put(name)
            .flip());
  }

  /** Requests pages of the same block as before. */
  void request(long start, int bytes) {
    say(4, ByteBuffer.allocate(12).putLong(start).putInt(bytes).flip());
  }

  void hangUp() {
    Objects.requireNonNull(connection).dispose();
  }

  @Override
  public void close() {
    reader.close();
    pool.close();
  }
}
