package io.pageflux.transport.tcp;

import io.netty.channel.Channel;
import io.netty.util.concurrent.EventExecutor;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;
import reactor.netty.resources.LoopResources;

/**
 * The event loops of one connector or acceptor, and how long they live.
 *
 * <p>Own loops exist while somebody uses them: an attempt to connect, and every channel from the
 * moment at which it is on a loop until it is closed, whoever knows of it. With the last one the
 * threads end, so that nobody has to dispose a connector, and nothing outlives its connections.
 * Loops that were handed in are left alone.
 *
 * <p>No channel may be left on a loop that ends: Netty (4.2) may end it without closing the
 * channel, which nobody else can do after that.
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

  /** Keeps the loops until a channel that is on one of them is closed. */
  void hold(Channel channel) {
    acquire();
    channel.closeFuture().addListener(closed -> release());
  }

  /**
   * Counts one user less, as soon as the loops have done what they were told to do before: a
   * channel that was being put on one of them holds them itself by then.
   */
  void release() {
    LoopResources used;
    synchronized (this) {
      used = own;
    }
    if (used == null) {
      released();
      return;
    }
    List<EventExecutor> loops = new ArrayList<>();
    used.onServer(isNative()).forEach(loops::add); // those of clients are the same
    AtomicInteger busy = new AtomicInteger(loops.size());
    for (EventExecutor loop : loops) {
      loop.execute(
          () -> {
            if (busy.decrementAndGet() == 0) {
              released();
            }
          });
    }
  }

  private boolean isNative() {
    return !(spec instanceof TcpSpec tcp) || tcp.nativeTransport();
  }

  private void released() {
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
