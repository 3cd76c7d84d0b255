package io.pageflux.transport.tcp;

import java.time.Duration;
import org.jspecify.annotations.Nullable;
import reactor.netty.resources.LoopResources;

/**
 * The event loops of one connector or acceptor, and how long they live.
 *
 * <p>Own loops exist while somebody uses them: an attempt to connect, a listening socket, a
 * connection. With the last one the threads end, so that nobody has to dispose a connector, and
 * nothing outlives its connections. Loops that were handed in are left alone.
 */
final class TcpLoops {

  /** How long a thread may take to finish what it does. */
  private static final Duration LAST_TASKS = Duration.ofSeconds(5);

  private final String threadPrefix;
  private final SocketSpec spec;

  // Guarded by this object's monitor.
  private int users;
  private @Nullable LoopResources own;

  TcpLoops(String threadPrefix, SocketSpec spec) {
    this.threadPrefix = threadPrefix;
    this.spec = spec;
  }

  /** Counts one user more. Each call is followed by one call of {@link #release()}. */
  synchronized LoopResources acquire() {
    users++;
    LoopResources given = spec.loopResources();
    if (given != null) {
      return given;
    }
    if (own == null) {
      // Not colocated: a connection made on one loop may be served by another.
      own =
          LoopResources.create(
              threadPrefix, LoopResources.DEFAULT_IO_SELECT_COUNT, spec.eventLoops(), true, false);
    }
    return own;
  }

  void release() {
    LoopResources unused;
    synchronized (this) {
      if (--users > 0) {
        return;
      }
      unused = own;
      own = null;
    }
    if (unused != null) {
      unused.disposeLater(Duration.ZERO, LAST_TASKS).subscribe();
    }
  }
}
