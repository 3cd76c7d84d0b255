package io.pageflux.qemu.relay;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.MadeConnection;
import io.pageflux.qemu.stream.QemuFirstBytes;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import java.time.Duration;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import reactor.core.Disposable;
import reactor.core.Disposables;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;

/**
 * Lets one QEMU in, and turns away whoever else connects: port scanners, health checks, people with
 * a browser. The destination's QEMU waits for a single connection and exits when it is closed, so
 * nobody connects to it before the source's QEMU has begun to speak.
 *
 * <p>Clients are heard beside one another, so one that says nothing is in nobody's way. The door
 * stays open while the migration passes, for QEMU opens further connections with its capabilities
 * multifd and postcopy-preempt: a destination that got only the first one would run a guest without
 * its memory, so that ends it all. The former are known by their first bytes. The latter are
 * silent, and could be anybody: they come after the first connection, shortly before
 * POSTCOPY_ADVISE or after it, and before the guest has been given away. Whoever connects then ends
 * the migration, while the source can still go on.
 *
 * <p><b>Memory bound:</b> a read burst of each of {@value #MOST_UNDECIDED} clients.
 *
 * <p><b>Threading:</b> for any thread.
 */
final class QemuDoor implements Disposable {

  /** How many clients are heard at a time; more of them wait in the acceptor. */
  private static final int MOST_UNDECIDED = 16;

  private enum Stage {
    WAITING,
    PRECOPY,
    /** It may go over to post-copy. */
    ADVISED,
    /** The guest has been given away. */
    HANDED_OVER
  }

  private final Acceptor acceptor;
  private final MadeConnection line;
  private final Duration patience;
  private final Scheduler timer;
  private final Consumer<String> strays;
  private final Sinks.One<Connection> qemu = Sinks.one();
  private final Sinks.Empty<Void> further = Sinks.empty();
  private final Disposable.Swap accepting = Disposables.swap();

  // All guarded by this object's monitor.
  private final Set<PeekedConnection> undecided = new LinkedHashSet<>();
  private Stage stage = Stage.WAITING;
  private boolean closed;

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
    this.acceptor = acceptor;
    this.line = line;
    this.patience = patience;
    this.timer = timer;
    this.strays = strays;
  }

  /** {@return QEMU's connection, when it has begun to speak} To be subscribed to once. */
  Mono<Connection> qemu() {
    return qemu.asMono().doOnSubscribe(s -> open());
  }

  /** {@return fails when QEMU has opened a further connection} */
  Mono<Void> further() {
    return further.asMono();
  }

  private void open() {
    accepting.update(
        // Hidden, it is a request that accepts: who has been stopped before takes none.
        Mono.<Connection>defer(acceptor::accept)
            .hide()
            .map(this::enter)
            .repeat()
            .flatMap(this::hear, MOST_UNDECIDED)
            .subscribe(v -> {}, qemu::tryEmitError));
  }

  private PeekedConnection enter(Connection connection) {
    PeekedConnection client = new PeekedConnection(connection, QemuFirstBytes.LENGTH);
    boolean urgentPages;
    boolean enters;
    synchronized (this) {
      urgentPages = stage == Stage.ADVISED;
      enters = !closed && !urgentPages;
      if (enters) {
        undecided.add(client);
      }
    }
    if (!enters) {
      client.dispose();
    }
    if (urgentPages) {
      fail(secondConnection());
    }
    return client;
  }

  private Mono<Void> hear(PeekedConnection client) {
    return client
        .peek()
        .timeout(patience, timer)
        .map(QemuFirstBytes::of)
        .doOnNext(first -> judge(client, first))
        .switchIfEmpty(turnAway(client, "it closed its connection without a word"))
        .onErrorResume(e -> turnAway(client, reason(e)))
        .then();
  }

  private String reason(Throwable e) {
    return e instanceof TimeoutException
        ? "it said nothing within " + patience.toSeconds() + " s"
        : String.valueOf(e.getMessage());
  }

  private <T> Mono<T> turnAway(PeekedConnection client, String why) {
    return Mono.fromRunnable(
        () -> {
          if (leaves(client)) {
            client.dispose();
            strays.accept("%s was turned away: %s".formatted(client.peer(), why));
          }
        });
  }

  private synchronized boolean leaves(PeekedConnection client) {
    return undecided.remove(client);
  }

  private void judge(PeekedConnection client, QemuFirstBytes first) {
    switch (first) {
      case MIGRATION -> letIn(client, Stage.PRECOPY);
      case RESUMED_POSTCOPY -> letIn(client, Stage.HANDED_OVER);
      case MULTIFD_CHANNEL -> {
        if (leaves(client)) {
          client.dispose();
          fail(secondConnection());
        }
      }
      case FOREIGN ->
          turnAway(client, "its first bytes are not 'QEVM': this is no QEMU that migrates")
              .subscribe();
    }
  }

  private void letIn(PeekedConnection client, Stage next) {
    List<PeekedConnection> earlier = List.of();
    boolean first;
    synchronized (this) {
      first = stage == Stage.WAITING && undecided.contains(client);
      if (first) {
        stage = next;
        earlier = undecided.stream().takeWhile(other -> other != client).toList();
        undecided.remove(client);
        line.made(client);
      }
    }
    if (first) {
      // QEMU makes its further connections after this one.
      earlier.forEach(other -> turnAway(other, "it said nothing until QEMU came").subscribe());
      qemu.tryEmitValue(client);
    } else {
      turnAway(client, "another QEMU's migration is passing").subscribe();
    }
  }

  /** The stream may go over to post-copy: who connects now may be bringing pages. */
  void postcopyAdvised() {
    boolean urgentPages;
    synchronized (this) {
      if (stage == Stage.PRECOPY) {
        stage = Stage.ADVISED;
      }
      urgentPages = stage == Stage.ADVISED && !undecided.isEmpty();
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

  /** Accepts nobody any more, and turns away who has not been decided about. */
  @Override
  public void dispose() {
    List<PeekedConnection> left;
    synchronized (this) {
      closed = true;
      left = List.copyOf(undecided);
      undecided.clear();
    }
    accepting.dispose();
    left.forEach(PeekedConnection::dispose);
  }
}
