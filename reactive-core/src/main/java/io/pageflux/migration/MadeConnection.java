package io.pageflux.migration;

import io.pageflux.transport.Connection;
import org.jspecify.annotations.Nullable;

/**
 * The connection of one session, closed with it in any case: one that is made just as somebody asks
 * for the migration to stop is dropped on its way, and nobody else would know of it.
 */
final class MadeConnection {

  private volatile @Nullable Connection made;
  private volatile boolean closed;

  void made(Connection connection) {
    made = connection;
    if (closed) {
      connection.dispose();
    }
  }

  void close() {
    closed = true;
    Connection connection = made;
    if (connection != null) {
      connection.dispose();
    }
  }
}
