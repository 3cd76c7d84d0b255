package io.pageflux.channel;

import io.pageflux.transport.Connection;
import org.jspecify.annotations.Nullable;

/**
 * The connection of one session, closed with it in any case: one that is made just as somebody asks
 * for the migration to stop is dropped on its way, and nobody else would know of it.
 */
public final class MadeConnection {

  /** Awaits a connection. */
  public MadeConnection() {}

  private volatile @Nullable Connection made;
  private volatile boolean closed;

  /** Says that it was made; closes it if it is too late. */
  public void made(Connection connection) {
    made = connection;
    if (closed) {
      connection.dispose();
    }
  }

  /** Closes it, now or as soon as it is made. */
  public void close() {
    closed = true;
    Connection connection = made;
    if (connection != null) {
      connection.dispose();
    }
  }
}
