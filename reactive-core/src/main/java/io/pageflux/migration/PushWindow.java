package io.pageflux.migration;

import java.util.ArrayDeque;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/**
 * How much of what was pushed in the background the destination may lack: so that a page that is
 * needed while it is on its way does not have to wait for all that a socket could swallow.
 *
 * <p>One at a time waits and counts what is sent; acknowledgements may come from any thread.
 *
 * <p><b>Memory bound:</b> 40 bytes for each batch within the window.
 */
final class PushWindow {

  private record Batch(long pagesInAll, long bytesInAll) {}

  private final long bytes;

  // All below is guarded by this object's monitor.
  private final ArrayDeque<Batch> batches = new ArrayDeque<>();
  private long sentPages;
  private long sentBytes;
  private long acknowledgedBytes;
  private Sinks.@Nullable Empty<Void> waiting;

  PushWindow(long bytes) {
    this.bytes = bytes;
  }

  /** Counts a batch that is being sent. */
  synchronized void sent(int pages, long batchBytes) {
    sentPages += pages;
    sentBytes += batchBytes;
    batches.add(new Batch(sentPages, sentBytes));
  }

  /** The destination has so many pages in all. */
  void acknowledged(long pages) {
    Sinks.Empty<Void> waiter = null;
    synchronized (this) {
      for (Batch first = batches.peek();
          first != null && first.pagesInAll <= pages;
          first = batches.peek()) {
        acknowledgedBytes = first.bytesInAll;
        batches.remove();
      }
      if (isOpen()) {
        waiter = waiting;
        waiting = null;
      }
    }
    if (waiter != null) {
      waiter.tryEmitEmpty();
    }
  }

  private boolean isOpen() {
    return sentBytes - acknowledgedBytes < bytes;
  }

  /** Completes when there is room, at once or on the thread that makes it. */
  Mono<Void> room() {
    return Mono.defer(
        () -> {
          synchronized (this) {
            if (isOpen()) {
              return Mono.empty();
            }
            Sinks.Empty<Void> waiter = Sinks.empty();
            waiting = waiter;
            return waiter.asMono();
          }
        });
  }
}
