package io.pageflux.qemu.qmp;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.InstanceOfAssertFactories.type;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.qemu.testing.BootSector;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.qemu.testing.RequiresQemu;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.test.StepVerifier;

@RequiresQemu
class QmpQemuTest {

  private static final BootSector WRITER = BootSector.upToMiB(16);

  @Test
  void aGuestIsStoppedAndContinuedAndItsMemoryIsOfOneMoment() throws Exception {
    try (QemuProcess qemu = QemuProcess.builder().boot(WRITER).start()) {
      var events = new LinkedBlockingQueue<String>();
      qemu.qmp().events().map(QmpEvent::name).subscribe(events::add, e -> {});
      qemu.awaitBooted();
      assertThat(qemu.qmp().qemuVersion()).matches("\\d+\\.\\d+\\.\\d+");
      assertThat(qemu.commands().queryStatus().block(PATIENCE)).isEqualTo("running");

      qemu.commands().stop().block(PATIENCE);
      assertThat(events.poll(PATIENCE.toSeconds(), TimeUnit.SECONDS)).isEqualTo("STOP");
      assertThat(qemu.commands().isRunning().block(PATIENCE)).isFalse();
      byte[] stopped = qemu.pmemsave(WRITER);
      WRITER.check(stopped);
      assertThat(WRITER.generation(stopped)).isPositive();
      assertThat(qemu.pmemsave(WRITER)).isEqualTo(stopped);

      qemu.commands().cont().block(PATIENCE);
      assertThat(events.poll(PATIENCE.toSeconds(), TimeUnit.SECONDS)).isEqualTo("RESUME");
      qemu.awaitPasses(3);
      qemu.commands().stop().block(PATIENCE);
      byte[] later = qemu.pmemsave(WRITER);
      WRITER.check(later);
      assertThat(WRITER.generation(later)).isGreaterThan(WRITER.generation(stopped));
    }
  }

  @Test
  void qmpIsSpokenOverTcpToo() throws Exception {
    try (QemuProcess qemu =
        QemuProcess.builder()
            .with("-chardev", "socket,id=tcp,host=127.0.0.1,port=0,server=on,wait=off")
            .with("-mon", "chardev=tcp,mode=control")
            .start()) {
      // "disconnected:tcp:127.0.0.1:PORT,server=on"
      String chardevs =
          Objects.requireNonNull(qemu.qmp().execute("query-chardev").block(PATIENCE)).toString();
      Matcher port = Pattern.compile("tcp:127\\.0\\.0\\.1:(\\d+)").matcher(chardevs);
      assertThat(port.find()).as(chardevs).isTrue();
      QmpClient client =
          Objects.requireNonNull(
              QmpClient.connect(QmpSpec.of(QmpAddress.parse("127.0.0.1:" + port.group(1))))
                  .block(PATIENCE));
      var events = new LinkedBlockingQueue<String>();
      client.events().map(QmpEvent::name).subscribe(events::add, e -> {});
      assertThat(client.qemuVersion()).isEqualTo(qemu.qmp().qemuVersion());
      client.commands().stop().block(PATIENCE);
      assertThat(events.poll(PATIENCE.toSeconds(), TimeUnit.SECONDS)).isEqualTo("STOP");
      assertThat(qemu.commands().isRunning().block(PATIENCE)).isFalse();
      client.close().block(PATIENCE);
    }
  }

  @Test
  void aRefusalIsQemusOwnWords() {
    try (QemuProcess qemu = QemuProcess.builder().start()) {
      StepVerifier.create(qemu.qmp().execute("no-such-command"))
          .expectErrorSatisfies(
              e -> {
                assertThat(e)
                    .hasMessageContaining(qemu.qmpAddress())
                    .hasMessageContaining("no-such-command")
                    .hasCauseInstanceOf(QmpError.class);
                assertThat(((MigrationException) e).kind()).isEqualTo(Kind.GUEST);
                assertThat(e.getCause())
                    .asInstanceOf(type(QmpError.class))
                    .extracting(QmpError::errorClass)
                    .isEqualTo("CommandNotFound");
              })
          .verify(PATIENCE);
      StepVerifier.create(qemu.commands().setCapability("no-such-capability", true))
          .expectErrorSatisfies(e -> assertThat(e).hasMessageContaining("no-such-capability"))
          .verify(PATIENCE);
      // And it goes on.
      assertThat(qemu.commands().queryStatus().block(PATIENCE)).isEqualTo("running");
    }
  }

  @Test
  void manyCommandsAreAnsweredEachByItsOwn() {
    try (QemuProcess qemu = QemuProcess.builder().start()) {
      List<String> answers =
          Flux.range(0, 500)
              .flatMapSequential(
                  i ->
                      i % 2 == 0
                          ? qemu.qmp().execute("query-version").map(v -> v.path("qemu").toString())
                          : qemu.qmp().execute("query-name").map(Object::toString),
                  256)
              .collectList()
              .block(PATIENCE);
      assertThat(answers).hasSize(500);
      for (int i = 0; i < 500; i += 2) {
        assertThat(answers).element(i).asString().contains("major");
        assertThat(answers).element(i + 1).asString().isEqualTo("{}");
      }
    }
  }

  @Test
  void theLongestAnswerThereIsFitsIntoALine() {
    try (QemuProcess qemu = QemuProcess.builder().start()) {
      assertThat(qemu.qmp().execute("query-qmp-schema").block(PATIENCE)).hasSizeGreaterThan(500);
    }
  }

  @Test
  void whatWaitsFailsWhenQemuIsKilledAndSaysWhere() {
    try (QemuProcess qemu = QemuProcess.builder().start()) {
      StepVerifier.create(qemu.qmp().events())
          .then(qemu::kill)
          .expectErrorSatisfies(
              e -> {
                assertThat(((MigrationException) e).kind()).isEqualTo(Kind.TRANSPORT);
                assertThat(e).hasMessageContaining(qemu.qmpAddress());
              })
          .verify(PATIENCE);
      StepVerifier.create(qemu.qmp().execute("query-status"))
          .expectErrorSatisfies(
              e ->
                  assertThat(e)
                      .hasMessageContaining("query-status")
                      .hasMessageContaining(qemu.qmpAddress()))
          .verify(PATIENCE);
    }
  }

  @Test
  void quitEndsQemuAndIsNoError() throws Exception {
    try (QemuProcess qemu = QemuProcess.builder().start()) {
      StepVerifier.create(qemu.commands().quit()).expectComplete().verify(PATIENCE);
      assertThat(qemu.process().waitFor(PATIENCE.toSeconds(), TimeUnit.SECONDS)).isTrue();
    }
  }

  @Test
  void aSecondClientIsToldThatTheSocketServesOne() {
    try (QemuProcess qemu = QemuProcess.builder().start()) {
      QmpSpec spec = QmpSpec.of(qemu.qmpAddress()).withTimeout(Duration.ofMillis(200));
      StepVerifier.create(QmpClient.connect(spec))
          .expectErrorSatisfies(
              e -> {
                assertThat(((MigrationException) e).kind()).isEqualTo(Kind.TIMEOUT);
                assertThat(e).hasMessageContaining("one client at a time");
              })
          .verify(PATIENCE);
    }
  }

  @Test
  void aMigrationIsAwaitedAtBothEnds() {
    try (QemuProcess source = QemuProcess.builder().boot(WRITER).start();
        QemuProcess destination =
            QemuProcess.builder().boot(WRITER).with("-incoming", "defer").start()) {
      source.awaitBooted();
      String socket = "unix:" + destination.directory().resolve("in");
      for (QemuProcess qemu : List.of(source, destination)) {
        qemu.commands().setCapability("events", true).block(PATIENCE);
      }
      source.commands().setParameters(Map.of("downtime-limit", 2000)).block(PATIENCE);
      destination.commands().migrateIncoming(socket).block(PATIENCE);
      source.commands().migrate(socket).block(PATIENCE);
      MigrateStatus sent = source.commands().awaitMigration(PATIENCE).block(PATIENCE);
      assertThat(sent).extracting(MigrateStatus::isCompleted).isEqualTo(true);
      destination.commands().awaitMigration(PATIENCE).block(PATIENCE);
      destination.awaitPasses(3);
      destination.commands().stop().block(PATIENCE);
      WRITER.check(destination.pmemsave(WRITER));
    }
  }

  @Test
  void aFailedMigrationSaysWhy() {
    try (QemuProcess qemu = QemuProcess.builder().start()) {
      qemu.commands().setCapability("events", true).block(PATIENCE);
      String nowhere = "unix:" + qemu.directory().resolve("nobody");
      StepVerifier.create(
              qemu.commands()
                  .migrate(nowhere)
                  .onErrorComplete()
                  .then(qemu.commands().awaitMigration(PATIENCE)))
          .expectErrorSatisfies(
              e -> assertThat(e).hasMessageContaining("failed").hasMessageContaining("nobody"))
          .verify(PATIENCE);
    }
  }
}
