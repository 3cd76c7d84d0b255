package io.pageflux.qemu.migrate;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.qemu.qmp.QmpSpec;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.time.Duration;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.test.StepVerifier;

class QemuDestinationTest {

  private static final Duration PATIENCE = Duration.ofSeconds(30);

  /** More than a Unix domain socket takes that nobody reads. */
  private static final int LONGER_THAN_BUFFERS = 16 << 20;

  private final CountDownLatch undecided = new CountDownLatch(1);

  private Mono<Void> resume(FakeQmp qmp) throws IOException {
    return resume(qmp, qmp.spec());
  }

  private Mono<Void> resume(FakeQmp qmp, QmpSpec address) throws IOException {
    QemuMonitor qemu = Objects.requireNonNull(QemuMonitor.connect(address).block(PATIENCE));
    DeviceStateSocket socket = DeviceStateSocket.in(null);
    QemuMigrationSpec spec = QemuMigrationSpec.of(QmpSpec.of("localhost:1"), qmp.spec());
    return new QemuDestination(qemu, socket, spec, true, undecided::countDown)
        .resume()
        .doFinally(
            signal -> {
              qemu.close().subscribe();
              try {
                socket.close();
              } catch (IOException e) {
                throw new IllegalStateException(e);
              }
            });
  }

  @Test
  void anAnswerThatIsLostIsAskedForAgainAndTheGuestRuns() throws Exception {
    try (FakeQmp qmp =
        new FakeQmp(
            command ->
                switch (command) {
                  case "cont" -> FakeQmp.CLOSE;
                  case "query-status" -> "{\"status\": \"running\", \"running\": true}";
                  default -> null;
                })) {
      StepVerifier.create(resume(qmp)).expectComplete().verify(PATIENCE);
      assertThat(qmp.heard())
          .containsExactly("qmp_capabilities", "cont", "qmp_capabilities", "query-status");
    }
  }

  @Test
  void anOrderThatIsLostIsAFailureIfTheGuestDoesNotRun() throws Exception {
    try (FakeQmp qmp =
        new FakeQmp(
            command ->
                switch (command) {
                  case "cont" -> FakeQmp.CLOSE;
                  case "query-status" -> "{\"status\": \"paused\", \"running\": false}";
                  default -> null;
                })) {
      StepVerifier.create(resume(qmp))
          .expectErrorSatisfies(e -> assertThat(e).hasMessageContaining("cont was not answered"))
          .verify(PATIENCE);
    }
  }

  @Test
  void aQemuThatHasEndedDoesNotRunTheGuest() throws Exception {
    try (FakeQmp qmp = new FakeQmp(command -> command.equals("cont") ? FakeQmp.END : null)) {
      StepVerifier.create(resume(qmp))
          .expectErrorSatisfies(
              e -> assertThat(((MigrationException) e).kind()).isEqualTo(Kind.TRANSPORT))
          .verify(PATIENCE);
      assertThat(undecided.getCount()).isEqualTo(1);
    }
  }

  @Test
  void ofAQemuThatHangsNothingIsSaidToTheSource() throws Exception {
    try (FakeQmp qmp = new FakeQmp(command -> command.equals("cont") ? FakeQmp.HANG : null)) {
      Mono<Void> resuming = resume(qmp, qmp.spec().withTimeout(Duration.ofSeconds(1)));
      StepVerifier.create(resuming)
          .then(this::awaitUndecided)
          .thenCancel() // Neither completed nor failed by then.
          .verify(PATIENCE);
    }
  }

  @Test
  void aQemuThatDoesNotReadItsDevicesStateIsGivenUp() throws Exception {
    try (FakeQmp qmp = new FakeQmp(command -> null);
        DeviceStateSocket socket = DeviceStateSocket.in(null);
        // As a QEMU that was stopped by a signal: connected to, but nothing is read.
        ServerSocketChannel unread = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      unread.bind(UnixDomainSocketAddress.of(socket.inletUri().substring("unix:".length())));
      QemuMonitor qemu = Objects.requireNonNull(QemuMonitor.connect(qmp.spec()).block(PATIENCE));
      QemuMigrationSpec spec =
          QemuMigrationSpec.of(QmpSpec.of("localhost:1"), qmp.spec())
              .withDeviceLimits(LONGER_THAN_BUFFERS, Duration.ofMillis(300));
      QemuDestination guest = new QemuDestination(qemu, socket, spec, true, undecided::countDown);
      try {
        StepVerifier.create(guest.loadDeviceState(Flux.just(new byte[LONGER_THAN_BUFFERS])))
            .expectErrorSatisfies(
                e -> {
                  assertThat(((MigrationException) e).kind()).isEqualTo(Kind.TIMEOUT);
                  assertThat(e).hasMessageContaining(qmp.spec().address().toString());
                })
            .verify(PATIENCE);
      } finally {
        qemu.close().block(PATIENCE);
      }
    }
  }

  private void awaitUndecided() {
    try {
      assertThat(undecided.await(PATIENCE.toSeconds(), TimeUnit.SECONDS)).isTrue();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void aQemuWithoutTheCapabilityIsRefusedByName() throws Exception {
    try (FakeQmp qmp =
        new FakeQmp(
            command ->
                command.equals("query-migrate-capabilities")
                    ? "[{\"capability\": \"xbzrle\", \"state\": false}]"
                    : null)) {
      QemuMonitor qemu = Objects.requireNonNull(QemuMonitor.connect(qmp.spec()).block(PATIENCE));
      StepVerifier.create(QemuSettings.of(qemu, Set.of(QemuSettings.IGNORE_SHARED)))
          .expectErrorSatisfies(
              e ->
                  assertThat(e)
                      .hasMessageContaining(qmp.spec().address().toString())
                      .hasMessageContaining("x-ignore-shared"))
          .verify(PATIENCE);
      assertThat(qmp.heard()).doesNotContain("migrate-set-capabilities");
      qemu.close().block(PATIENCE);
    }
  }
}
