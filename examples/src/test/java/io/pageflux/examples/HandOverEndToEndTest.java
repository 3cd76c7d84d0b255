package io.pageflux.examples;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.examples.cli.Endpoint;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.fault.Fault;
import io.pageflux.transport.fault.FaultPlan;
import io.pageflux.transport.fault.FaultyTransport;
import io.pageflux.transport.fault.Place;
import io.pageflux.transport.tcp.SocketTransport;
import io.pageflux.transport.tcp.TcpSpec;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/** What people are told of who runs the guest, when a message of the hand-over does not arrive. */
class HandOverEndToEndTest {

  // Records of WIRE-FORMAT.md.
  private static final int END = 10;
  private static final int COMMIT = 12;
  private static final int RUNNING = 13;

  @TempDir Path folder = Path.of("");

  @BeforeEach
  void makeImage() throws IOException {
    Files.write(folder.resolve("image"), new byte[1 << 20]);
  }

  /** A line between the two, to which something happens. */
  private record Line(Acceptor front, Disposable forwarding) implements AutoCloseable {

    static Line to(String destination, Fault there, Fault back) {
      Acceptor front =
          Objects.requireNonNull(
              SocketTransport.listen(TcpSpec.loopback(0)).<Acceptor>map(a -> a).block());
      Connector onward =
          FaultyTransport.connector(
              SocketTransport.connector(Endpoint.parse(destination).spec()),
              n -> FaultPlan.of(there, back),
              Schedulers.parallel());
      Mono<Void> forwarding =
          front
              .accept()
              .<Connection>map(c -> c)
              .flatMap(
                  near ->
                      onward
                          .connect()
                          .<Connection>map(c -> c)
                          .flatMap(
                              far ->
                                  Mono.when(far.send(near.receive()), near.send(far.receive()))
                                      .onErrorComplete()
                                      .doFinally(
                                          signal -> {
                                            near.dispose();
                                            far.dispose();
                                          })));
      return new Line(front, forwarding.subscribe());
    }

    @Override
    public void close() {
      forwarding.dispose();
      front.dispose();
    }
  }

  private record Results(Cli.Result sent, Cli.Result received) {}

  private Results migrate(Fault there, Fault back) throws Exception {
    try (Cli receiver =
        Cli.start(
            "receive",
            "--listen=0",
            "--memory=" + folder.resolve("copy"),
            "--size=1m",
            "--peer-timeout=2s")) {
      String address = receiver.awaitLine("listening on (\\S+)").group(1);
      try (Line line = Line.to(address, there, back);
          Cli sender =
              Cli.start(
                  "send",
                  "--connect=" + line.front().address(),
                  "--memory=" + folder.resolve("image"),
                  "--peer-timeout=2s")) {
        return new Results(sender.result(), receiver.result());
      }
    }
  }

  @Test
  void beforeTheCommitTheGuestGoesOnAtTheSource() throws Exception {
    Results ends = migrate(Fault.cut(Place.beforeRecord(END)), Fault.NONE);
    ends.sent().isFailure(1, "(the guest goes on at the source)");
    ends.received().isFailure(1, "(the guest does not run here and must not be started here)");
  }

  @Test
  void aCommitThatIsLostLeavesTheGuestWithAPerson() throws Exception {
    Results ends = migrate(Fault.cut(Place.beforeRecord(COMMIT)), Fault.NONE);
    ends.sent()
        .isFailure(
            3,
            "the guest stays paused at the source: it may run at the destination; let it go on only"
                + " if 'pageflux receive' says that it does not run there");
    ends.received().isFailure(1, "(the guest does not run here and must not be started here)");
  }

  @Test
  void aCommitThatIsLostOnALineThatStillWorksTheOtherWayLeavesItAtTheSource() throws Exception {
    Results ends = migrate(Fault.swallow(Place.beforeRecord(COMMIT)), Fault.NONE);
    ends.sent().isFailure(1, "the peer reports", "(the guest goes on at the source)");
    ends.received().isFailure(1, "(the guest does not run here and must not be started here)");
  }

  @Test
  void aGuestWhoseStartIsNotHeardOfIsAtTheDestination() throws Exception {
    Results ends = migrate(Fault.NONE, Fault.swallow(Place.beforeRecord(RUNNING)));
    ends.sent().isFailure(3, "the guest stays paused at the source: it may run at the destination");
    assertThat(ends.received().exitCode()).isZero();
    assertThat(ends.received().out().getLast())
        .isEqualTo("the guest is here: it may run here, and nowhere else");
  }

  @Test
  void allIsWellOtherwise() throws Exception {
    Results ends = migrate(Fault.NONE, Fault.NONE);
    assertThat(ends.sent().exitCode()).isZero();
    assertThat(ends.sent().out().getLast())
        .isEqualTo("the guest is at the destination: do not let it go on here");
    assertThat(ends.received().exitCode()).isZero();
  }
}
