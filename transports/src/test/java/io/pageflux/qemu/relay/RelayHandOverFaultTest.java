package io.pageflux.qemu.relay;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;
import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.qemu.qmp.MigrateStatus;
import io.pageflux.qemu.relay.StandStill.Moment;
import io.pageflux.qemu.testing.BootSector;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.qemu.testing.RequiresQemu;
import io.pageflux.transport.tcp.TcpSpec;
import io.pageflux.transport.tcp.TcpTransport;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Mono;

/**
 * Something breaks while two QEMUs hand a guest over: the RAM is there, the devices' state is on
 * its way, or the destination has just said that it has everything.
 *
 * <p>The destination's QEMU is started with {@code -S}, and told to go on when the source says that
 * the migration is complete. Without it QEMU lets the guest run before it says so; if that word is
 * lost then, with relays or without, the source goes on, too.
 */
@RequiresQemu
class RelayHandOverFaultTest {

  private static final Map<String, Boolean> RETURN_PATH = Map.of("return-path", true);
  private static final BootSector WRITER = BootSector.upToMiB(4).withDelay(2_000);

  /** The devices' state alone is longer. */
  private static final int TAIL_BYTES = 10_000;

  private enum Fault {
    LINK_CUT,
    SOURCE_RELAY_ENDED,
    DESTINATION_RELAY_ENDED,
    DESTINATION_KILLED
  }

  private static QemuProcess source() {
    QemuProcess qemu = QemuProcess.builder().boot(WRITER).start();
    qemu.awaitBooted();
    qemu.commands().setCapabilities(RETURN_PATH).block(PATIENCE);
    qemu.commands()
        .setParameters(Map.of("max-bandwidth", 100 << 20, "downtime-limit", 5_000))
        .block(PATIENCE);
    return qemu;
  }

  private static QemuProcess destination() {
    return QemuProcess.builder().boot(WRITER).with("-S", "-incoming", "defer").start();
  }

  private static MigrateStatus ended(QemuProcess source) {
    return Objects.requireNonNull(
        Mono.defer(source.commands()::queryMigrate)
            .repeatWhen(answered -> answered.delayElements(Duration.ofMillis(5)))
            .filter(MigrateStatus::isEnded)
            .blockFirst(PATIENCE));
  }

  private static boolean isRunning(QemuProcess qemu) {
    return Objects.requireNonNull(qemu.commands().isRunning().block(PATIENCE));
  }

  /** The guest goes on at the destination, from where it was stopped. */
  private static void assertGoesOn(QemuProcess source, QemuProcess destination) {
    assertThat(isRunning(source)).isFalse();
    assertThat(isRunning(destination)).isFalse();
    byte[] left = source.pmemsave(WRITER);
    WRITER.check(left);
    destination.commands().cont().block(PATIENCE);
    destination.awaitPasses(2);
    destination.commands().stop().block(PATIENCE);
    byte[] now = destination.pmemsave(WRITER);
    WRITER.check(now);
    assertThat(WRITER.generation(now)).isGreaterThan(WRITER.generation(left));
  }

  private static void happen(Fault fault, RelayPair relays, QemuProcess destination) {
    switch (fault) {
      case LINK_CUT -> relays.cut();
      case SOURCE_RELAY_ENDED -> relays.stopSource();
      case DESTINATION_RELAY_ENDED -> relays.stopDestination();
      case DESTINATION_KILLED -> destination.kill();
    }
  }

  private static void attempt(QemuProcess source, Moment moment, int tailBytes, Fault fault)
      throws Exception {
    try (QemuProcess destination = destination();
        StandStill way =
            new StandStill(
                TcpTransport.connector(TcpSpec.loopback(RelayPair.await(destination, RETURN_PATH))),
                moment,
                tailBytes);
        RelayPair relays = new RelayPair(RelaySpec.DEFAULT, way)) {
      source.commands().migrate(relays.uri()).block(PATIENCE);
      way.reached().get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
      assertThat(isRunning(source)).isFalse();
      happen(fault, relays, destination);
      MigrateStatus end = ended(source);
      if (moment != Moment.AFTER_SHUT) {
        assertThat(end.status()).isEqualTo("failed");
      }
      if (end.isCompleted()) {
        if (fault != Fault.DESTINATION_KILLED) {
          assertGoesOn(source, destination);
        }
        destination.kill();
        source.commands().cont().block(PATIENCE); // for the next attempt
      } else {
        assertRunsNowhereElse(destination, moment, fault);
      }
      source.awaitPasses(1);
      assertThat(isRunning(source)).isTrue();
    }
  }

  /** The destination has a guest only if it got everything, and that one stands still. */
  private static void assertRunsNowhereElse(QemuProcess destination, Moment moment, Fault fault)
      throws InterruptedException {
    if (moment == Moment.IN_DEVICE_TAIL) {
      assertThat(destination.process().waitFor(PATIENCE.toSeconds(), TimeUnit.SECONDS)).isTrue();
    } else if (fault != Fault.DESTINATION_KILLED) {
      assertThat(isRunning(destination)).isFalse();
    }
  }

  @Test
  void whateverBreaksInTheHandOverOneGuestGoesOnAndAnotherAttemptSucceeds() throws Exception {
    long seed = Long.getLong("pageflux.seed", System.nanoTime());
    System.out.println("hand-over faults: -Dpageflux.seed=" + seed);
    Random random = new Random(seed);
    // Each moment and each fault once at least.
    List<Moment> moments = new ArrayList<>(List.of(Moment.values()));
    moments.add(Moment.IN_DEVICE_TAIL);
    Collections.shuffle(moments, random);
    List<Fault> faults = Arrays.asList(Fault.values());
    Collections.shuffle(faults, random);
    try (QemuProcess source = source()) {
      for (int i = 0; i < moments.size(); i++) {
        int tailBytes = random.nextInt(TAIL_BYTES);
        try {
          attempt(source, moments.get(i), tailBytes, faults.get(i));
        } catch (Exception | AssertionError e) {
          throw new AssertionError(
              "seed %d: %s, %s, %d bytes of the tail"
                  .formatted(seed, moments.get(i), faults.get(i), tailBytes),
              e);
        }
      }
      try (QemuProcess destination = destination();
          RelayPair relays =
              new RelayPair(RelaySpec.DEFAULT, RelayPair.await(destination, RETURN_PATH))) {
        source.commands().migrate(relays.uri()).block(PATIENCE);
        assertThat(ended(source).toString()).isEqualTo("completed");
        assertGoesOn(source, destination);
      }
    }
  }
}
