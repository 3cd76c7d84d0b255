package io.pageflux.qemu.postcopy;

import io.pageflux.MigrationException;
import io.pageflux.channel.MadeConnection;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;

/** One attempt to connect, which the session's thread waits for. */
final class Connecting {

  private final Bell bell;
  private final MadeConnection line = new MadeConnection();

  // Guarded by the bell's monitor.
  private @Nullable Connection made;
  private @Nullable Throwable failure;

  private Connecting(Bell bell) {
    this.bell = bell;
  }

  /**
   * Connects.
   *
   * @throws RuntimeException why that failed, or why the session is to end
   */
  static Connection connect(Connector connector, Bell bell) throws InterruptedException {
    return new Connecting(bell).connect(connector);
  }

  private Connection connect(Connector connector) throws InterruptedException {
    Disposable attempt =
        Mono.<Connection>from(connector.connect())
            .doOnNext(line::made)
            .subscribe(this::succeed, this::fail, () -> {});
    Connection connected = null;
    try {
      connected = await();
      return connected;
    } finally {
      if (connected == null) {
        attempt.dispose();
        line.close();
      }
    }
  }

  private void succeed(Connection connection) {
    synchronized (bell) {
      made = connection;
      bell.ring();
    }
  }

  private void fail(Throwable e) {
    synchronized (bell) {
      failure = e;
      bell.ring();
    }
  }

  private Connection await() throws InterruptedException {
    synchronized (bell) {
      while (made == null) {
        if (failure != null) {
          throw MigrationException.ofAny(failure);
        }
        bell.await(Bell.never());
      }
      return made;
    }
  }
}
