package io.pageflux.qemu.relay;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.channel.MadeConnection;
import io.pageflux.transport.Connection;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.TransportBuffer;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.test.scheduler.VirtualTimeScheduler;

/** Who is let in as the source's QEMU, in memory and in virtual time. */
class QemuDoorTest {

  private static final Duration PATIENCE = Duration.ofSeconds(15);
  private static final byte[] HEADER = {'Q', 'E', 'V', 'M', 0, 0, 0, 3};
  private static final byte[] MULTIFD = {0x11, 0x22, 0x33, 0x44, 0, 0, 0, 1};
  private static final byte[] RESUMED = {8, 0, 10, 0, 7};

  private final VirtualTimeScheduler time = VirtualTimeScheduler.create();
  private final InMemoryTransport transport = InMemoryTransport.create();
  private final List<String> strays = new ArrayList<>();
  private final MadeConnection line = new MadeConnection();
  private final QemuDoor door =
      new QemuDoor(transport.acceptor(), line, PATIENCE, time, strays::add);
  private final Sinks.One<Connection> qemu = Sinks.one();
  private final Sinks.One<String> further = Sinks.one();
  private final AtomicInteger held = new AtomicInteger();

  @BeforeEach
  void open() {
    door.qemu().subscribe(qemu::tryEmitValue, qemu::tryEmitError);
    door.further().subscribe(v -> {}, e -> further.tryEmitValue(String.valueOf(e.getMessage())));
  }

  @AfterEach
  void nothingIsLeft() {
    line.close();
    door.dispose();
    time.dispose();
    assertThat(held).hasValue(0);
  }

  /** Somebody who connects. */
  private final class Client {
    final Connection connection =
        Objects.requireNonNull(Mono.<Connection>from(transport.connector().connect()).block());
    private final Sinks.Many<TransportBuffer> said = Sinks.many().unicast().onBackpressureBuffer();
    private boolean closed;

    Client() {
      connection.send(said.asFlux()).subscribe(v -> {}, e -> {});
      connection.receive().subscribe(TransportBuffer::release, e -> {}, () -> closed = true);
    }

    Client says(byte... bytes) {
      held.incrementAndGet();
      said.tryEmitNext(new TransportBuffer(ByteBuffer.wrap(bytes), held::decrementAndGet));
      return this;
    }

    boolean isTurnedAway() {
      return closed;
    }
  }

  private static byte[] received(Connection connection) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    Disposable receiving =
        connection
            .receive()
            .subscribe(
                buffer -> {
                  while (buffer.bytes().hasRemaining()) {
                    bytes.write(buffer.bytes().get());
                  }
                  buffer.release();
                });
    receiving.dispose();
    return bytes.toByteArray();
  }

  private Connection letIn() {
    return Objects.requireNonNull(qemu.asMono().block(Duration.ZERO), "nobody was let in");
  }

  private void assertNobodyIsIn() {
    assertThat(qemu.scan(reactor.core.Scannable.Attr.TERMINATED)).isFalse();
  }

  private void assertGoesOn() {
    assertThat(further.scan(reactor.core.Scannable.Attr.TERMINATED)).isFalse();
  }

  @Test
  void nothingOfWhatQemuSaysIsLostHoweverItComes() {
    Client client = new Client();
    for (byte b : HEADER) {
      client.says(b);
    }
    client.says((byte) 7, (byte) 0);
    assertThat(received(letIn())).containsExactly('Q', 'E', 'V', 'M', 0, 0, 0, 3, 7, 0);
    assertThat(strays).isEmpty();
  }

  @Test
  void theEndOfTheStreamComesAfterWhatWasSaid() {
    Client client = new Client().says(HEADER);
    Connection accepted = letIn();
    client.said.tryEmitComplete();
    client.connection.dispose();
    assertThat(accepted.receive().doOnNext(TransportBuffer::release).count().block(Duration.ZERO))
        .isEqualTo(1);
  }

  @Test
  void aPostcopyThatGoesOnBeginsWithACommand() {
    new Client().says(RESUMED);
    assertThat(received(letIn())).isEqualTo(RESUMED);
  }

  @Test
  void whoSaysNothingIsInNobodysWay() {
    Client silent = new Client();
    new Client().says(HEADER);
    assertThat(letIn()).isNotNull();
    assertThat(silent.isTurnedAway()).isTrue();
    assertThat(strays).singleElement().asString().contains("it said nothing until QEMU came");
  }

  @Test
  void whoSaysNothingIsTurnedAwayInTime() {
    Client silent = new Client().says((byte) 'Q', (byte) 'E');
    time.advanceTimeBy(PATIENCE.minusMillis(1));
    assertThat(silent.isTurnedAway()).isFalse();
    time.advanceTimeBy(Duration.ofMillis(1));
    assertThat(silent.isTurnedAway()).isTrue();
    assertThat(strays).singleElement().asString().contains("it said nothing within 15 s");
    assertNobodyIsIn();
    new Client().says(HEADER);
    assertThat(letIn()).isNotNull();
  }

  @Test
  void whoIsNoQemuIsTurnedAway() {
    Client browser = new Client().says("GET / HTTP/1.1".getBytes(StandardCharsets.US_ASCII));
    assertThat(browser.isTurnedAway()).isTrue();
    assertThat(strays).singleElement().asString().contains("not 'QEVM'");
    assertNobodyIsIn();
  }

  @Test
  void whoClosesAtOnceIsNoQemu() {
    new Client().connection.dispose();
    assertThat(strays).singleElement().asString().contains("without a word");
    assertNobodyIsIn();
  }

  @Test
  void howeverManySayNothingQemuIsHeardInTheEnd() {
    List<Client> silent = new ArrayList<>();
    for (int i = 0; i < 40; i++) {
      silent.add(new Client());
    }
    new Client().says(HEADER);
    assertNobodyIsIn();
    time.advanceTimeBy(PATIENCE);
    time.advanceTimeBy(PATIENCE);
    assertThat(letIn()).isNotNull();
    assertThat(strays).hasSize(40);
    assertThat(silent).allMatch(Client::isTurnedAway);
  }

  @Test
  void whoComesWhileAMigrationPassesIsTurnedAwayToo() {
    new Client().says(HEADER);
    Client another = new Client().says(HEADER);
    Client browser = new Client().says((byte) 'G', (byte) 'E', (byte) 'T', (byte) ' ');
    Client silent = new Client();
    time.advanceTimeBy(PATIENCE);
    assertThat(another.isTurnedAway()).isTrue();
    assertThat(browser.isTurnedAway()).isTrue();
    assertThat(silent.isTurnedAway()).isTrue();
    assertThat(strays).hasSize(3).first().asString().contains("another QEMU's migration");
    assertGoesOn();
  }

  @Test
  void aChannelOfMultifdEndsItAll() {
    new Client().says(HEADER);
    new Client().says(MULTIFD);
    assertThat(further.asMono().block(Duration.ZERO)).contains("multifd");
  }

  @Test
  void aChannelOfMultifdEndsItAllBeforeTheFirstConnectionHasSaidAnything() {
    Client first = new Client();
    new Client().says(MULTIFD);
    assertThatThrownBy(() -> qemu.asMono().block(Duration.ZERO))
        .isInstanceOf(MigrationException.class)
        .hasMessageContaining("multifd");
    door.dispose();
    assertThat(first.isTurnedAway()).isTrue();
  }

  @Test
  void whoConnectsSilentlyMayBringUrgentPages() {
    new Client().says(HEADER);
    door.postcopyAdvised();
    assertGoesOn();
    new Client();
    assertThat(further.asMono().block(Duration.ZERO)).contains("postcopy-preempt");
  }

  @Test
  void whoHasConnectedSilentlyAfterQemuToo() {
    new Client();
    new Client().says(HEADER);
    assertGoesOn();
    new Client();
    assertGoesOn();
    door.postcopyAdvised();
    assertThat(further.asMono().block(Duration.ZERO)).contains("postcopy-preempt");
  }

  @Test
  void whoConnectsSilentlyBeforeQemuDoesNotBringPages() {
    new Client();
    new Client().says(HEADER);
    door.postcopyAdvised();
    assertGoesOn();
  }

  @Test
  void noStrayPausesAGuestThatHasBeenGivenAway() {
    new Client().says(HEADER);
    door.postcopyAdvised();
    door.handedOver();
    Client silent = new Client();
    time.advanceTimeBy(PATIENCE);
    assertThat(silent.isTurnedAway()).isTrue();
    assertGoesOn();
  }

  @Test
  void whoIsNotDecidedAboutGoesWithTheDoor() {
    Client silent = new Client().says((byte) 'Q');
    door.dispose();
    assertThat(silent.isTurnedAway()).isTrue();
    assertThat(strays).isEmpty();
    assertThat(new Client().isTurnedAway()).isFalse(); // he waits for the next migration
  }
}
