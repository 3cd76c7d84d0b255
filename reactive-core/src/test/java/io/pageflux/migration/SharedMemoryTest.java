package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException.Kind;
import io.pageflux.internal.Linux;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.wire.Feature;
import io.pageflux.wire.WireRecord;
import java.lang.foreign.MemorySegment;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Supplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.publisher.Mono;

/** Pages that a saver brings into the destination's memory, most of them because it is shared. */
@Timeout(60)
class SharedMemoryTest {

  private static final Duration SOON = Duration.ofMillis(300);

  private final TinyGuest source = TinyGuest.atSource();
  private final GuestMemory memory =
      GuestMemory.builder().pageSize(512).shared("ram", 3072).memfd("vga", 512).build();
  private final InMemoryTransport transport = InMemoryTransport.create();

  @AfterEach
  void nothingIsLeft() {
    transport.acceptor().dispose();
    Leftovers.assertNoThreads();
    source.close();
    memory.close();
    assertThat(Leftovers.descriptors("memfd:pageflux")).isZero();
  }

  private record Ends(End out, End in) {}

  private Ends migrate(OutgoingSpec out, IncomingSpec in) {
    var both =
        Mono.zip(source.migrate(out).materialize(), IncomingMigration.of(in).run().materialize())
            .block(End.LIMIT);
    Objects.requireNonNull(both);
    return new Ends(
        new End(both.getT1().get(), both.getT1().getThrowable()),
        new End(both.getT2().get(), both.getT2().getThrowable()));
  }

  private OutgoingSpec outgoing() {
    return source.outgoing(transport.connector()).withSharedMemory(true);
  }

  private IncomingSpec incoming() {
    return IncomingSpec.of(memory, new PassiveGuest(), transport.acceptor())
        .withWorkers(1)
        .withMaxGeometry(TinyGuest.GEOMETRY)
        .withSharedMemory(true);
  }

  private void assertSameMemory() {
    for (RamBlock block : memory.blocks()) {
      assertThat(block.segment().mismatch(source.memory.block(block.index()).segment()))
          .as("first difference in " + block)
          .isEqualTo(-1);
    }
  }

  private static PlacementStatistics placement(End end) {
    return Objects.requireNonNull(Objects.requireNonNull(end.info()).placement());
  }

  @Test
  void wholePagesOfASharedBlockAreWrittenByTheSourceAndTheOthersAreSent() {
    Ends ends = migrate(outgoing(), incoming());
    assertThat(ends.out.error()).isNull();
    assertThat(ends.in.error()).isNull();
    assertSameMemory();
    // Three pages, one of them again, then that one and another: what would be deltas is placed.
    assertThat(placement(ends.out)).isEqualTo(new PlacementStatistics(1, 6, 6 * 512, List.of()));
    assertThat(placement(ends.in)).isEqualTo(placement(ends.out));
    MigrationInfo info = Objects.requireNonNull(ends.out.info());
    assertThat(info.rounds()).allSatisfy(round -> assertThat(round.deltaPages()).isZero());
    assertThat(info.ram().normal()).isEqualTo(6 + 1);
    assertThat(info.ram().transferred()).isGreaterThan(6 * 512);
    assertThat(memory.block(0).isLent()).isFalse();
  }

  @Test
  void nothingIsOfferedThatIsNotToBe() {
    Ends ends = migrate(outgoing(), incoming().withSharedMemory(false));
    assertThat(ends.out.error()).isNull();
    assertThat(Objects.requireNonNull(ends.out.info()).placement()).isNull();
    assertSameMemory();
    Ends again = migrate(outgoing().withSharedMemory(false), incoming());
    assertThat(again.out.error()).isNull();
    assertThat(Objects.requireNonNull(again.in.info()).placement()).isNull();
    assertSameMemory();
  }

  @Test
  void memoryThatWasLentToASourceThatFailedIsNotMigratedToAgain() {
    OutgoingSpec failing =
        outgoing()
            .withHooks(
                new MigrationHooks() {
                  @Override
                  public Mono<Void> afterRound(RoundReport report) {
                    throw new IllegalStateException("no more");
                  }
                });
    Ends ends = migrate(failing, incoming());
    assertThat(ends.out.message()).isEqualTo("the hook after round 1 failed: no more");
    assertThat(source.running).isTrue();
    End again = End.of(IncomingMigration.of(incoming()).run());
    assertThat(again.failure().kind()).isEqualTo(Kind.LAYOUT);
    assertThat(again.message()).contains("'ram' was lent").contains("make a new one");
  }

  @Test
  void aSourceThatPlacesWhereNothingWasOfferedIsRefused() {
    ScriptedPeer peer = new ScriptedPeer((p, type) -> {});
    peer.say(
        new WireRecord.Hello(1, 1, Feature.all(), 0, new UUID(1, 2), 0, 1, "a test"),
        new WireRecord.Layout(memory.layout(), TinyGuest.GEOMETRY),
        new WireRecord.RoundBegin(1, true, 1));
    try (var pool = new io.pageflux.page.SlabPool(1, TinyGuest.GEOMETRY)) {
      PageBatch batch =
          new PageBatch(
              1,
              memory.layout().blocks().get(1),
              Objects.requireNonNull(pool.tryAcquire()),
              TinyGuest.GEOMETRY.headroomBytes(),
              TinyGuest.GEOMETRY);
      batch.append(0, PageKind.PLACED, 0);
      peer.say(new WireRecord.Pages(batch));
    }
    IncomingSpec spec =
        IncomingSpec.of(memory, new PassiveGuest(), peer.acceptor())
            .withMaxGeometry(TinyGuest.GEOMETRY)
            .withSharedMemory(true);
    End end = End.of(IncomingMigration.of(spec).run());
    assertThat(end.failure().kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(end.message()).contains("block 1, which was not offered");
  }

  // Offers that are not what they seem.

  private String refusal(WireRecord.Offer offer) {
    try (SharedPages pages = SharedPages.open(memory.layout(), offer)) {
      assertThat(pages.blocks()).isEmpty();
      assertThat(pages.refusals()).hasSize(1);
      return pages.refusals().getFirst();
    }
  }

  private static WireRecord.Offer offer(WireRecord.Offer real, int fd, UUID token) {
    return new WireRecord.Offer(
        real.machine(), real.process(), List.of(new WireRecord.Offer.Block(0, fd, token)));
  }

  @Test
  void whatIsNotTheOfferedFileIsNotUsed() {
    WireRecord.Offer real = Objects.requireNonNull(SharedFiles.offer(memory));
    WireRecord.Offer.Block block = real.blocks().getFirst();
    try (SharedPages pages = SharedPages.open(memory.layout(), real)) {
      assertThat(pages.blocks()).containsExactly(0);
    }
    assertThat(refusal(new WireRecord.Offer(new UUID(1, 2), real.process(), real.blocks())))
        .contains("on another machine");
    assertThat(refusal(offer(real, block.descriptor(), new UUID(1, 2))))
        .contains("is not the file");
    assertThat(refusal(offer(real, 0, block.token()))).contains("is not the file");
    assertThat(refusal(offer(real, 999_999, block.token()))).contains("cannot be opened");
    assertThat(refusal(new WireRecord.Offer(real.machine(), Integer.MAX_VALUE, real.blocks())))
        .contains("cannot be opened");
  }

  private void withFile(UUID token, Supplier<Integer> file, String expected) {
    int fd = file.get();
    try {
      WireRecord.Offer real = Objects.requireNonNull(SharedFiles.offer(memory));
      assertThat(refusal(offer(real, fd, token))).contains(expected);
    } finally {
      Linux.close(fd);
    }
  }

  @Test
  void aFileThatCouldBeCutShortOrIsTooShortIsNotUsed() {
    UUID token = UUID.randomUUID();
    String name = "pageflux-" + token;
    withFile(token, () -> Linux.memfd(name, 3072), "not sealed");
    withFile(token, () -> Linux.sealedMemfd(name, 2560), "has 2560 bytes, but the block has 3072");
    withFile(token, () -> Linux.sealedMemfd(name, 4096), "has 4096 bytes");
  }

  @Test
  void anOfferThatCannotBeUsedLeavesTheStream() {
    PageSaver.Maker elsewhere =
        (layout, offer) ->
            SharedPages.open(
                layout, new WireRecord.Offer(new UUID(1, 2), offer.process(), offer.blocks()));
    Ends ends = migrate(outgoing().withPageSaver(elsewhere), incoming());
    assertThat(ends.out.error()).isNull();
    assertSameMemory();
    assertThat(placement(ends.out).pages()).isZero();
    assertThat(placement(ends.out).refusals())
        .containsExactly("RAM block 'ram': the destination is on another machine");
  }

  @Test
  void anOfferOfABlockThatThereIsNotIsAnError() {
    ScriptedPeer peer =
        new ScriptedPeer(
            (p, type) -> {
              if (type == WireBytes.HELLO) {
                p.say(new WireRecord.Hello(1, 1, Feature.all(), 0, new UUID(1, 2), 0, 1, "test"));
              } else if (type == WireBytes.LAYOUT) {
                p.say(
                    new WireRecord.Offer(
                        new UUID(1, 2),
                        1,
                        List.of(new WireRecord.Offer.Block(2, 3, new UUID(1, 2)))));
              }
            });
    End end = End.of(source.migrate(source.outgoing(peer.connector()).withSharedMemory(true)));
    assertThat(end.failure().kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(end.message()).contains("offers block 2 of 2");
    assertThat(source.running).isTrue();
  }

  @Test
  void anOfferThatNobodyAskedForIsAnError() {
    ScriptedPeer peer =
        new ScriptedPeer(
            (p, type) -> {
              if (type == WireBytes.HELLO) {
                p.say(
                    new WireRecord.Hello(1, 1, Feature.all(), 0, new UUID(1, 2), 0, 1, "test"),
                    new WireRecord.Offer(
                        new UUID(1, 2),
                        1,
                        List.of(new WireRecord.Offer.Block(0, 3, new UUID(1, 2)))));
              }
            });
    End end = End.of(source.migrate(peer.connector()));
    assertThat(end.message()).contains("Offer record out of turn");
  }

  // Other savers.

  /** Takes pages of shared memory, and lets a test change what it does. */
  private static class Wrapped implements PageSaver {
    final SharedPages shared;

    Wrapped(RamLayout layout, WireRecord.Offer offer) {
      shared = SharedPages.open(layout, offer);
    }

    @Override
    public Saved save(PageBatch batch) {
      return shared.save(batch);
    }

    @Override
    public List<Integer> blocks() {
      return shared.blocks();
    }

    @Override
    public void close() {
      shared.close();
    }
  }

  /** Puts pages into place only when a round ends. */
  private static final class Late extends Wrapped {
    private final List<Runnable> later = new ArrayList<>();

    Late(RamLayout layout, WireRecord.Offer offer) {
      super(layout, offer);
    }

    @Override
    public Saved save(PageBatch batch) {
      MemorySegment target = shared.target(batch.blockIndex());
      if (target == null) {
        return Saved.NOT_SUPPORTED;
      }
      long offset = batch.payloadOffset();
      for (int i = 0; i < batch.size(); i++) {
        byte[] page = new byte[batch.length(i)];
        MemorySegment.copy(batch.slab(), offset, MemorySegment.ofArray(page), 0, page.length);
        long to = batch.page(i) * batch.pageSizeBytes();
        later.add(
            () -> MemorySegment.copy(MemorySegment.ofArray(page), 0, target, to, page.length));
        offset += page.length;
      }
      return new Saved(Result.DELAYED, offset - batch.payloadOffset());
    }

    @Override
    public Mono<Void> flush() {
      return Mono.fromRunnable(
          () -> {
            later.forEach(Runnable::run);
            later.clear();
          });
    }
  }

  @Test
  void delayedPagesAreInPlaceWhenTheirRoundEnds() {
    List<Boolean> whole = new ArrayList<>();
    MigrationHooks hooks =
        new MigrationHooks() {
          @Override
          public Mono<Void> afterRound(RoundReport report) {
            return Mono.fromRunnable(
                () ->
                    whole.add(
                        report.round() > 1
                            || memory
                                    .block(0)
                                    .segment()
                                    .asSlice(512, 512)
                                    .get(java.lang.foreign.ValueLayout.JAVA_BYTE, 0)
                                == 'a'));
          }
        };
    Ends ends = migrate(outgoing().withPageSaver(Late::new), incoming().withHooks(hooks));
    assertThat(ends.out.error()).isNull();
    assertSameMemory();
    assertThat(whole).containsExactly(true, true, true);
    assertThat(placement(ends.out).pages()).isEqualTo(6);
  }

  @Test
  void aSaverThatTakesOnlySomePagesDoesNotConfuseTheDeltas() {
    // Round 2 goes past the delta cache, and round 3 must not build upon round 1.
    PageSaver.Maker second =
        (layout, offer) ->
            new Wrapped(layout, offer) {
              private int flushes;

              @Override
              public Saved save(PageBatch batch) {
                return flushes == 1 ? super.save(batch) : Saved.NOT_SUPPORTED;
              }

              @Override
              public Mono<Void> flush() {
                flushes++;
                return Mono.empty();
              }
            };
    Ends ends = migrate(outgoing().withPageSaver(second), incoming());
    assertThat(ends.out.error()).isNull();
    assertSameMemory();
    assertThat(placement(ends.out).pages()).isPositive();
  }

  private void assertEndsCleanly(PageSaver.Maker maker, Kind kind, String reason) {
    Ends ends = migrate(outgoing().withPageSaver(maker), incoming());
    assertThat(ends.out.failure().kind()).isEqualTo(kind);
    assertThat(ends.out.message()).isEqualTo(reason);
    assertThat(ends.in.message()).endsWith(reason);
    assertThat(source.running).isTrue();
  }

  @Test
  void aSaverThatThrowsEndsTheMigrationAndIsClosed() {
    AtomicLong closed = new AtomicLong();
    assertEndsCleanly(
        (layout, offer) ->
            new Wrapped(layout, offer) {
              @Override
              public Saved save(PageBatch batch) {
                throw new IllegalStateException("out of order");
              }

              @Override
              public void close() {
                closed.incrementAndGet();
                super.close();
              }
            },
        Kind.INTERNAL,
        "the page saver could not save pages: out of order");
    assertThat(closed).hasPositiveValue();
  }

  @Test
  void aSaverThatCannotBeMadeEndsTheMigration() {
    assertEndsCleanly(
        (layout, offer) -> {
          throw new IllegalStateException("no card");
        },
        Kind.INTERNAL,
        "the page saver could not make a page saver: no card");
  }

  @Test
  void aSaverThatHangsIsInterrupted() {
    CountDownLatch interrupted = new CountDownLatch(1);
    PageSaver.Maker hanging =
        (layout, offer) ->
            new Wrapped(layout, offer) {
              @Override
              public Saved save(PageBatch batch) {
                return hang(interrupted);
              }
            };
    Ends ends =
        migrate(
            outgoing().withPageSaver(hanging).withPeerTimeout(SOON),
            incoming().withPeerTimeout(SOON));
    assertThat(ends.out.failure().kind()).isEqualTo(Kind.TIMEOUT);
    assertThat(ends.out.message()).startsWith("the page saver could not save pages within");
    assertThat(interrupted.getCount()).isZero();
    assertThat(source.running).isTrue();
  }

  private static PageSaver.Saved hang(CountDownLatch interrupted) {
    try {
      new CountDownLatch(1).await();
    } catch (InterruptedException e) {
      interrupted.countDown();
    }
    throw new IllegalStateException("interrupted");
  }

  @Test
  void aFlushThatNeverEndsIsGivenUp() {
    PageSaver.Maker hanging =
        (layout, offer) ->
            new Wrapped(layout, offer) {
              @Override
              public Mono<Void> flush() {
                return Mono.never();
              }
            };
    Ends ends =
        migrate(
            outgoing().withPageSaver(hanging).withPeerTimeout(SOON),
            incoming().withPeerTimeout(SOON));
    assertThat(ends.out.message()).startsWith("the page saver could not bring pages into place");
    assertThat(source.running).isTrue();
  }
}
