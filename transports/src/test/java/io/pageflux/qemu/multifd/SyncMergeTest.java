package io.pageflux.qemu.multifd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import io.pageflux.qemu.stream.QemuElement;
import io.pageflux.qemu.stream.QemuRamLayout;
import io.pageflux.qemu.stream.QemuStreamWriter;
import io.pageflux.transport.TransportBuffer;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.UUID;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Sinks;
import reactor.test.scheduler.VirtualTimeScheduler;

class SyncMergeTest {

  private final VirtualTimeScheduler clock = VirtualTimeScheduler.create();
  private final SlabPool pool = new SlabPool(4, BatchGeometry.DEFAULT);
  private final SlabPool source = new SlabPool(1, BatchGeometry.DEFAULT);
  private final QemuStreamWriter framing = new QemuStreamWriter();
  private final MultifdPacketWriter packets =
      new MultifdPacketWriter(MultifdCompression.NONE, 0, true, () -> 7);

  private final List<Sinks.Many<TransportBuffer>> lines = new ArrayList<>();
  private final List<String> seen = new ArrayList<>();
  private @Nullable Throwable error;
  private boolean complete;
  private @Nullable Disposable subscription;

  @AfterEach
  void nothingIsLeased() {
    if (subscription != null) {
      subscription.dispose();
    }
    assertThat(pool.outstanding()).isZero();
    assertThat(source.outstanding()).isZero();
    pool.close();
    source.close();
    clock.dispose();
  }

  private void begin(MultifdIncomingSpec spec) {
    for (int i = 0; i <= spec.channels(); i++) {
      lines.add(Sinks.many().unicast().onBackpressureBuffer());
    }
    List<Flux<TransportBuffer>> connections = lines.stream().map(Sinks.Many::asFlux).toList();
    subscription =
        new SyncMerge(spec, connections, pool, clock)
            .subscribe(this::see, e -> error = e, () -> complete = true);
  }

  private void see(QemuElement element) {
    switch (element) {
      case QemuElement.Pages pages -> seen.add("page " + pages.batch().page(0));
      case QemuElement.EndOfRamData end -> seen.add("EOS");
      case QemuElement.MultifdFlush flush -> seen.add("FLUSH");
      case QemuElement.DeviceTail tail -> seen.add("tail");
      default -> {}
    }
    element.release();
  }

  private void send(int line, ByteBuffer... pieces) {
    byte[] bytes = Channels.bytes(List.of(pieces));
    lines.get(line).tryEmitNext(TransportBuffer.of(ByteBuffer.wrap(bytes))).orThrow();
  }

  private void opening(int line) {
    send(
        line,
        framing.header(),
        framing.configuration("pc", List.of()),
        framing.sectionStart(),
        framing.ramBlocks(QemuRamLayout.of(Channels.LAYOUT)));
  }

  private static ByteBuffer init(int channel) {
    return ByteBuffer.wrap(Channels.init(channel));
  }

  private ByteBuffer page(long page) {
    PageBatch batch = Channels.batch(source, 0, page, new Random(page), PageKind.RAW);
    byte[] packet = Channels.bytes(packets.write(batch));
    batch.release();
    return ByteBuffer.wrap(packet);
  }

  private MigrationException failure() {
    assertThat(error).isInstanceOf(MigrationException.class);
    assertThat(pool.outstanding()).isZero();
    return (MigrationException) java.util.Objects.requireNonNull(error);
  }

  @Test
  void nothingOvertakesASyncPoint() {
    begin(MultifdIncomingSpec.of(2, MultifdCompression.NONE));
    // The channels connect before the main one, and in another order.
    send(0, init(1), page(1), packets.sync(), page(11), packets.sync());
    send(2, init(0), page(2));
    assertThat(seen).isEmpty(); // nobody knows the blocks yet
    opening(1);
    assertThat(seen).containsExactlyInAnyOrder("page 1", "page 2");
    send(1, framing.endOfSection(), framing.sectionPart());
    send(2, page(3));
    assertThat(seen).hasSize(3).endsWith("page 3");
    send(2, packets.sync());
    assertThat(seen).hasSize(5).containsSubsequence("page 3", "EOS", "page 11");
    send(2, page(12));
    send(2, packets.sync(), page(22));
    send(1, framing.endOfSection(), framing.sectionEnd());
    assertThat(seen.subList(5, seen.size())).containsExactly("page 12", "EOS", "page 22");
    send(0, packets.sync());
    send(2, packets.sync());
    send(1, framing.endOfSection(), framing.endOfStream());
    assertThat(seen).endsWith("EOS", "tail");
    lines.forEach(Sinks.Many::tryEmitComplete);
    assertThat(error).isNull();
    assertThat(complete).isTrue();
  }

  @Test
  void withFlushRecordsTheEndOfASectionIsNoSyncPoint() {
    begin(MultifdIncomingSpec.of(1, MultifdCompression.NONE));
    opening(0);
    send(1, init(0), packets.sync(), page(1));
    assertThat(seen).isEmpty();
    send(0, framing.multifdFlush(), framing.endOfSection());
    send(0, framing.sectionPart(), framing.endOfSection(), framing.sectionPart());
    assertThat(seen).containsExactlyInAnyOrder("FLUSH", "page 1", "EOS", "EOS").startsWith("FLUSH");
    send(0, framing.multifdFlush());
    assertThat(seen).hasSize(4);
    send(1, packets.sync());
    assertThat(seen).endsWith("FLUSH").hasSize(5);
  }

  @Test
  void aMissingSyncIsAnErrorAfterSomeTime() {
    begin(
        MultifdIncomingSpec.of(2, MultifdCompression.NONE).withSyncTimeout(Duration.ofSeconds(20)));
    opening(0);
    send(1, init(0), packets.sync(), page(5));
    send(2, init(1), page(6));
    send(0, framing.endOfSection());
    clock.advanceTimeBy(Duration.ofSeconds(19));
    send(2, page(7)); // a sign of life
    clock.advanceTimeBy(Duration.ofSeconds(15));
    assertThat(error).isNull();
    clock.advanceTimeBy(Duration.ofSeconds(11));
    assertThat(failure().kind()).isEqualTo(Kind.TIMEOUT);
    assertThat(failure())
        .hasMessageContaining("sync point 0 has not been reached by multifd channel 1");
    assertThat(seen).containsExactly("page 6", "page 7");
  }

  @Test
  void aSilentPeerIsNoErrorWhereNobodyWaits() {
    begin(MultifdIncomingSpec.of(1, MultifdCompression.NONE));
    opening(0);
    send(1, init(0), page(1));
    clock.advanceTimeBy(Duration.ofDays(1));
    assertThat(error).isNull();
    send(1, packets.sync());
    send(0, framing.endOfSection());
    assertThat(seen).containsExactly("page 1", "EOS");
  }

  @Test
  void aChannelThatEndsWithoutItsSyncIsAnError() {
    begin(MultifdIncomingSpec.of(1, MultifdCompression.NONE));
    opening(0);
    send(1, init(0), page(1));
    lines.get(1).tryEmitComplete();
    assertThat(error).isNull();
    send(0, framing.endOfSection());
    assertThat(failure().kind()).isEqualTo(Kind.TRANSPORT);
    assertThat(failure())
        .hasMessageContaining("multifd channel 0 has ended without the SYNC for sync point 0");
  }

  @Test
  void pagesBehindTheLastSyncPointAreAnError() {
    begin(MultifdIncomingSpec.of(1, MultifdCompression.NONE));
    opening(0);
    send(1, init(0), packets.sync(), packets.sync(), page(1));
    send(0, framing.endOfSection(), framing.sectionEnd(), framing.endOfSection());
    // It may come before the main channel's footer is read, or after it; never as a success.
    send(1, page(2));
    assertThat(failure().kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(failure()).hasMessageContaining("pages behind the last sync point");
  }

  @Test
  void connectionsThatDoNotBelongTogetherAreRefused() {
    begin(MultifdIncomingSpec.of(2, MultifdCompression.NONE));
    send(1, init(1));
    send(2, init(1));
    assertThat(failure())
        .hasMessageContaining("two connections say that they are multifd channel 1");
    restart(MultifdIncomingSpec.of(2, MultifdCompression.NONE));
    opening(0);
    opening(1);
    assertThat(failure()).hasMessageContaining("which is the main one");
    restart(MultifdIncomingSpec.of(2, MultifdCompression.NONE));
    send(1, init(2));
    assertThat(failure()).hasMessageContaining("only channels 0 to 1 were agreed upon");
    restart(MultifdIncomingSpec.of(2, MultifdCompression.NONE).withUuid(new UUID(0, 1)));
    send(1, init(0));
    assertThat(failure()).hasMessageContaining("00000000-0000-0000-0000-000000000001 was expected");
  }

  private void restart(MultifdIncomingSpec spec) {
    lines.clear();
    error = null;
    begin(spec);
  }

  @Test
  void tooFewConnectionsOrSlabsAreRefusedAtOnce() {
    MultifdIncomingSpec spec = MultifdIncomingSpec.of(3, MultifdCompression.NONE);
    assertThatThrownBy(() -> MultifdIncoming.read(spec, List.of(Flux.empty()), pool))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("1 connections, but 3 channels");
    List<Flux<TransportBuffer>> four =
        List.of(Flux.never(), Flux.never(), Flux.never(), Flux.never());
    assertThatThrownBy(() -> MultifdIncoming.read(spec, four, pool))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("at least 5 slabs, but the pool has 4");
  }
}
