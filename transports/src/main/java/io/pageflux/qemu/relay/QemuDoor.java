package io.pageflux.qemu.relay;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.MadeConnection;
import io.pageflux.qemu.stream.QemuFirstBytes;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.function.Consumer;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;

/**
 * Lets one QEMU in, and turns away whoever else connects. The destination's QEMU waits for a single
 * connection and exits when it is closed, so nobody connects to it before the source's QEMU has
 * begun to speak.
 *
 * <p>The door stays open while the migration passes, for QEMU opens further connections with its
 * capabilities multifd and postcopy-preempt: a destination that got only the first one would run a
 * guest without its memory, so that ends it all. The former are known by their first bytes. The
 * latter are silent, and could be anybody: they come after the first connection, shortly before
 * POSTCOPY_ADVISE or after it, and before the guest has been given away. Whoever connects then ends
 * the migration, while the source can still go on.
 */
final class QemuDoor extends Door {

  private enum Stage {
    WAITING,
    PRECOPY,
    /** It may go over to post-copy. */
    ADVISED,
    /** The guest has been given away. */
    HANDED_OVER
  }

  private final MadeConnection line;
  private final Sinks.One<Connection> qemu = Sinks.one();
  private final Sinks.Empty<Void> further = Sinks.empty();
  private Stage stage = Stage.WAITING; // guarded by this object's monitor

  /**
   * @param line learns of QEMU's connection, which is not closed with the door
   * @param patience how long a client may take for its first bytes
   * @param strays learns of whom was turned away, and why
   */
  QemuDoor(
      Acceptor acceptor,
      MadeConnection line,
      Duration patience,
      Scheduler timer,
      Consumer<String> strays) {
    super(acceptor, QemuFirstBytes.LENGTH, patience, timer, strays);
    this.line = line;
  }

  /** {@return QEMU's connection, when it has begun to speak} To be subscribed to once. */
  Mono<Connection> qemu() {
    return qemu.asMono().doOnSubscribe(s -> open(qemu::tryEmitError));
  }

  /** {@return fails when QEMU has opened a further connection} */
  Mono<Void> further() {
    return further.asMono();
  }

  @Override
  boolean admits() {
    return stage != Stage.ADVISED;
  }

  @Override
  void refused() {
    fail(secondConnection());
  }

  @Override
  void judge(PeekedConnection client, ByteBuffer first) {
    switch (QemuFirstBytes.of(first)) {
      case MIGRATION -> letIn(client, Stage.PRECOPY);
      case RESUMED_POSTCOPY -> letIn(client, Stage.HANDED_OVER);
      case MULTIFD_CHANNEL -> {
        if (leaves(client)) {
          client.dispose();
          fail(secondConnection());
        }
      }
      case FOREIGN ->
          turnAway(client, "its first bytes are not 'QEVM': this is no QEMU that migrates");
    }
  }

  private void letIn(PeekedConnection client, Stage next) {
    List<PeekedConnection> earlier = List.of();
    boolean first;
    synchronized (this) {
      first = stage == Stage.WAITING && isUndecided(client);
      if (first) {
        stage = next;
        earlier = undecided().stream().takeWhile(other -> other != client).toList();
        leaves(client);
        line.made(client);
      }
    }
    if (first) {
      // QEMU makes its further connections after this one.
      earlier.forEach(other -> turnAway(other, "it said nothing until QEMU came"));
      qemu.tryEmitValue(client);
    } else {
      turnAway(client, "another QEMU's migration is passing");
    }
  }

  /** The stream may go over to post-copy: who connects now may be bringing pages. */
  void postcopyAdvised() {
    boolean urgentPages;
    synchronized (this) {
      if (stage == Stage.PRECOPY) {
        stage = Stage.ADVISED;
      }
      urgentPages = stage == Stage.ADVISED && !undecided().isEmpty();
    }
    if (urgentPages) {
      fail(secondConnection());
    }
  }

  /** The guest has been given away: QEMU makes no further connections. */
  synchronized void handedOver() {
    stage = Stage.HANDED_OVER;
  }

  private static MigrationException secondConnection() {
    return MigrationException.of(
        Kind.PROTOCOL,
        "QEMU has opened a second connection: switch off its capabilities multifd"
            + " and postcopy-preempt, which cannot be relayed");
  }

  private void fail(Throwable e) {
    qemu.tryEmitError(e);
    further.tryEmitError(e);
  }
}
