package io.pageflux.qemu.relay;

import io.pageflux.MigrationException;
import io.pageflux.channel.MigrationText;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.wire.WireReader;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;

/**
 * Lets those in, one after the other, who begin as the source's relay does. If what one of them
 * says next shows that it is none, it is the next one's turn.
 *
 * <p>Once this is disposed, clients wait in the acceptor, for the next migration.
 *
 * <p><b>Memory bound:</b> that of a {@link Door}, and as much for those who wait for their turn.
 */
final class RelayDoor extends Door {

  // All guarded by this object's monitor.
  private final ArrayDeque<PeekedConnection> waiting = new ArrayDeque<>();
  private Sinks.@Nullable One<Connection> awaited;
  private boolean opened;

  /**
   * @param patience how long a client may take for its first bytes
   * @param strays learns of whom was turned away, and why
   */
  RelayDoor(Acceptor acceptor, Duration patience, Scheduler timer, Consumer<String> strays) {
    super(acceptor, WireReader.PREAMBLE_BYTES, patience, timer, strays);
  }

  /** {@return the next client that may be a relay} One is let in for each subscriber. */
  Mono<Connection> relay() {
    return Mono.defer(
        () -> {
          Sinks.One<Connection> next = Sinks.one();
          boolean first;
          synchronized (this) {
            first = !opened;
            opened = true;
            awaited = next;
          }
          if (first) {
            open(this::fail);
          } else {
            letIn();
          }
          return next.asMono();
        });
  }

  @Override
  void judge(PeekedConnection client, ByteBuffer first) {
    try (WireReader reader = new WireReader()) {
      reader.read(first);
    } catch (MigrationException e) {
      turnAway(client, MigrationText.of(e));
      return;
    }
    boolean waits;
    synchronized (this) {
      waits = waiting.size() < MOST_UNDECIDED && waiting.add(client);
    }
    if (waits) {
      letIn();
    } else {
      turnAway(client, "%d others wait to be listened to".formatted(MOST_UNDECIDED));
    }
  }

  /** Lets in who waits longest, if somebody is awaited. */
  private void letIn() {
    Sinks.One<Connection> to;
    PeekedConnection client = null;
    synchronized (this) {
      to = awaited;
      while (to != null && client == null && !waiting.isEmpty()) {
        PeekedConnection next = waiting.remove();
        client = leaves(next) ? next : null; // else it went with the door
      }
      if (client != null) {
        awaited = null;
      }
    }
    if (to != null && client != null && to.tryEmitValue(client).isFailure()) {
      client.dispose();
    }
  }

  private void fail(Throwable e) {
    Sinks.One<Connection> to;
    synchronized (this) {
      to = awaited;
      awaited = null;
    }
    if (to != null) {
      to.tryEmitError(e);
    }
  }
}
