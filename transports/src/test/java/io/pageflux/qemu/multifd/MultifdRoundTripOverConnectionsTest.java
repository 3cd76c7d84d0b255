package io.pageflux.qemu.multifd;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.SlabPool;
import io.pageflux.qemu.stream.QemuElement;
import io.pageflux.qemu.stream.QemuRamLayout;
import io.pageflux.qemu.stream.QemuStreamSpec;
import io.pageflux.transport.Connection;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.tcp.TcpAcceptor;
import io.pageflux.transport.tcp.TcpSpec;
import io.pageflux.transport.tcp.TcpTransport;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.CancellationException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

class MultifdRoundTripOverConnectionsTest {

  private static final Duration PATIENCE = Duration.ofSeconds(10);
  private static final RamBlockLayout RAM = new RamBlockLayout("pc.ram", 4 << 20, 4096);
  private static final QemuStreamSpec STREAM =
      new QemuStreamSpec("pc", QemuRamLayout.of(new RamLayout(List.of(RAM))));

  private final Scheduler workers = Schedulers.newParallel("multifd-test", 3, true);
  private final SlabPool source = new SlabPool(6, BatchGeometry.DEFAULT);
  private final SlabPool destination = new SlabPool(6, BatchGeometry.DEFAULT);
  private final List<Connection> ours = new ArrayList<>();
  private final List<Connection> theirs = new ArrayList<>();

  @AfterEach
  void end() {
    ours.forEach(Connection::dispose);
    theirs.forEach(Connection::dispose);
    workers.dispose();
    source.close();
    destination.close();
  }

  private void connect(int channels) {
    for (int i = 0; i <= channels; i++) {
      InMemoryTransport.Pair pair = InMemoryTransport.pair();
      ours.add(pair.first());
      theirs.add(pair.second());
    }
  }

  private Mono<Void> send(MultifdOutgoingSpec spec, ChangingPages pages) {
    return MultifdOutgoing.send(
        spec, STREAM, pages.batches(), ours.get(0), ours.subList(1, ours.size()));
  }

  private Flux<QemuElement> receive(MultifdIncomingSpec spec) {
    // In another order than that in which they were made.
    List<Connection> shuffled = new ArrayList<>(theirs);
    java.util.Collections.shuffle(shuffled, new Random(4));
    return MultifdIncoming.read(
        spec, shuffled.stream().map(Connection::receive).toList(), destination);
  }

  /** Over TCP, where the end of what is sent can be heard. */
  private void connectByTcp(int channels) {
    TcpAcceptor acceptor =
        Objects.requireNonNull(TcpTransport.listen(TcpSpec.loopback(0)).block(PATIENCE));
    for (int i = 0; i <= channels; i++) {
      TcpSpec address = TcpSpec.loopback(acceptor.port());
      ours.add(Objects.requireNonNull(TcpTransport.connector(address).connect().block(PATIENCE)));
      theirs.add(Objects.requireNonNull(acceptor.accept().block(PATIENCE)));
    }
    acceptor.dispose();
  }

  @ParameterizedTest
  @CsvSource({
    "NONE,1,true,false", "NONE,4,false,true", "ZLIB,1,false,true", "ZLIB,4,true,true",
    "ZSTD,1,true,true", "ZSTD,4,false,true", "ZSTD,3,true,false", "ZLIB,2,false,false"
  })
  void whatIsSentArrivesInOrder(
      MultifdCompression compression, int channels, boolean modern, boolean withWorkers) {
    connectByTcp(channels);
    long seed = new Random().nextLong();
    ChangingPages pages = new ChangingPages(RAM, source, 12, seed);
    Scheduler scheduler = withWorkers ? workers : null;
    MultifdOutgoingSpec out =
        modern
            ? MultifdOutgoingSpec.forQemuSince90(compression)
            : MultifdOutgoingSpec.forMachinesUpTo80(compression);
    try (LoadedGuest loaded = new LoadedGuest()) {
      Mono<Void> loading =
          receive(MultifdIncomingSpec.of(channels, compression).withWorkers(scheduler))
              .doOnNext(loaded::accept)
              .then();
      Mono<Void> sending =
          send(out.withWorkers(scheduler), pages)
              .doOnSuccess(sent -> ours.forEach(Connection::dispose));
      Mono.when(loading, sending.subscribeOn(workers)).block(PATIENCE);
      assertThat(loaded.bytes("pc.ram", 0, RAM.sizeBytes()))
          .as("seed %d", seed)
          .isEqualTo(pages.memory());
      assertThat(loaded.syncPoints()).isGreaterThan(10);
    }
    assertThat(source.outstanding()).isZero();
    assertThat(destination.outstanding()).isZero();
  }

  @RepeatedTest(60)
  void nothingStaysLeasedWhenEitherSideGivesUp() {
    long seed = new Random().nextLong();
    Random random = new Random(seed);
    MultifdCompression compression = MultifdCompression.values()[random.nextInt(3)];
    int channels = 1 + random.nextInt(3);
    connect(channels);
    Scheduler scheduler = random.nextBoolean() ? workers : null;
    int elements = 1 + random.nextInt(100);
    boolean destinationFails = random.nextBoolean();
    boolean byError = random.nextBoolean();
    Flux<QemuElement> received =
        receive(MultifdIncomingSpec.of(channels, compression).withWorkers(scheduler))
            .doOnNext(QemuElement::release);
    Mono<Void> sent =
        send(
            MultifdOutgoingSpec.forMachinesUpTo80(compression).withWorkers(scheduler),
            new ChangingPages(RAM, source, 1000, seed));
    Flux<QemuElement> some =
        byError
            ? received
                .index()
                .map(
                    n -> {
                      if (n.getT1() == elements) {
                        throw new CancellationException("enough");
                      }
                      return n.getT2();
                    })
            : received.take(elements);
    // Who ends first takes the other one down, by cancel or by the end of the connections.
    Mono<Void> loading = some.then();
    Mono<Void> both =
        destinationFails
            ? Mono.firstWithSignal(loading, sent.subscribeOn(workers).then(Mono.never()))
            : Mono.when(
                loading.doFinally(signal -> theirs.forEach(Connection::dispose)),
                sent.subscribeOn(workers));
    both.onErrorComplete().block(PATIENCE);
    ours.forEach(Connection::dispose);
    theirs.forEach(Connection::dispose);
    Mono.when(source.closeWhenIdle(), destination.closeWhenIdle())
        .timeout(
            PATIENCE,
            Mono.error(
                () -> new AssertionError("seed " + seed + ": " + source + ", " + destination)))
        .block();
  }
}
