package io.pageflux.qemu.relay;

import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import reactor.core.Disposable;
import reactor.core.Disposables;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;

/**
 * Hears the first bytes of all who connect, beside one another, so that one who says nothing is in
 * nobody's way; and turns away whoever is none of those who are waited for: port scanners, health
 * checks, people with a browser.
 *
 * <p><b>Memory bound:</b> a read burst of each of {@value #MOST_UNDECIDED} clients.
 *
 * <p><b>Threading:</b> for any thread.
 */
abstract class Door implements Disposable {

  /** How many clients are heard at a time; more of them wait in the acceptor. */
  static final int MOST_UNDECIDED = 16;

  private final Acceptor acceptor;
  private final int firstBytes;
  private final Duration patience;
  private final Scheduler timer;
  private final Consumer<String> strays;
  private final Disposable.Swap accepting = Disposables.swap();

  // Both guarded by this object's monitor.
  private final Set<PeekedConnection> undecided = new LinkedHashSet<>();
  private boolean closed;

  /**
   * @param firstBytes how many bytes it takes to know who a client is
   * @param patience how long a client may take for them
   * @param strays learns of whom was turned away, and why
   */
  Door(
      Acceptor acceptor,
      int firstBytes,
      Duration patience,
      Scheduler timer,
      Consumer<String> strays) {
    this.acceptor = acceptor;
    this.firstBytes = firstBytes;
    this.patience = patience;
    this.timer = timer;
    this.strays = strays;
  }

  /** Whether somebody who connects now is heard at all; with this object's monitor held. */
  boolean admits() {
    return true;
  }

  /** Learns of somebody who was not {@linkplain #admits() admitted}. */
  void refused() {}

  /** Decides about a client by its first bytes. */
  abstract void judge(PeekedConnection client, ByteBuffer first);

  /** Hears whoever connects from now on, until this is disposed or nobody can connect any more. */
  final void open(Consumer<Throwable> onFailure) {
    accepting.update(
        // Hidden, it is a request that accepts: who has been stopped before takes none.
        Mono.<Connection>defer(acceptor::accept)
            .hide()
            .map(this::enter)
            .repeat()
            .flatMap(this::hear, MOST_UNDECIDED)
            .subscribe(v -> {}, onFailure));
  }

  private PeekedConnection enter(Connection connection) {
    PeekedConnection client = new PeekedConnection(connection, firstBytes);
    boolean admitted;
    boolean enters;
    synchronized (this) {
      admitted = admits();
      enters = !closed && admitted;
      if (enters) {
        undecided.add(client);
      }
    }
    if (!enters) {
      client.dispose();
    }
    if (!admitted) {
      refused();
    }
    return client;
  }

  private Mono<Void> hear(PeekedConnection client) {
    return client
        .peek()
        .timeout(patience, timer)
        .doOnNext(first -> judge(client, first))
        .switchIfEmpty(turningAway(client, "it closed its connection without a word"))
        .onErrorResume(e -> turningAway(client, reason(e)))
        .then();
  }

  private String reason(Throwable e) {
    return e instanceof TimeoutException
        ? "it said nothing within " + patience.toSeconds() + " s"
        : String.valueOf(e.getMessage());
  }

  private <T> Mono<T> turningAway(PeekedConnection client, String why) {
    return Mono.fromRunnable(() -> turnAway(client, why));
  }

  /** Closes a client's connection and says why, unless it was decided about before. */
  final void turnAway(PeekedConnection client, String why) {
    if (leaves(client)) {
      client.dispose();
      tell(client, why);
    }
  }

  /** Says why a client was turned away whose connection has been closed. */
  final void tell(Connection client, String why) {
    strays.accept("%s was turned away: %s".formatted(client.peer(), why));
  }

  /** Takes a client out of those who are heard. {@return whether it was among them} */
  final synchronized boolean leaves(PeekedConnection client) {
    return undecided.remove(client);
  }

  /** {@return whether nothing has been decided about a client yet} With the monitor held. */
  final boolean isUndecided(PeekedConnection client) {
    return undecided.contains(client);
  }

  /** {@return those who are heard, in the order of their coming} With the monitor held. */
  final List<PeekedConnection> undecided() {
    return List.copyOf(undecided);
  }

  /** Accepts nobody any more, and turns away who has not been decided about. */
  @Override
  public void dispose() {
    List<PeekedConnection> left;
    synchronized (this) {
      closed = true;
      left = undecided();
      undecided.clear();
    }
    accepting.dispose();
    left.forEach(PeekedConnection::dispose);
  }
}
