package io.pageflux.qemu.postcopy;

import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Sinks;
import reactor.util.context.Context;
import reactor.util.context.ContextView;
import reactor.util.retry.Retry;

/**
 * Lets a thread that makes its attempts itself, and blocks, follow a {@link Retry}.
 *
 * <p><b>Threading:</b> for one thread, the one that waits at the bell.
 */
final class RetryPacer implements AutoCloseable {

  private final Bell bell;
  private final Sinks.Many<Retry.RetrySignal> failures =
      Sinks.many().unicast().onBackpressureBuffer();
  private final Disposable subscription;
  private long attempts;

  // Guarded by the bell's monitor.
  private boolean again;
  private @Nullable Throwable exhausted;

  RetryPacer(Retry retry, Bell bell) {
    this.bell = bell;
    this.subscription =
        Flux.from(retry.generateCompanion(failures.asFlux()))
            .subscribe(go -> go(), this::end, () -> end(new IllegalStateException("no more")));
  }

  private void go() {
    synchronized (bell) {
      again = true;
      bell.ring();
    }
  }

  private void end(Throwable reason) {
    synchronized (bell) {
      exhausted = reason;
      bell.ring();
    }
  }

  private record Failed(long totalRetries, long totalRetriesInARow, Throwable failure)
      implements Retry.RetrySignal {
    @Override
    public ContextView retryContextView() {
      return Context.empty();
    }
  }

  /**
   * Waits until another attempt may be made.
   *
   * @param failure why the last one failed
   * @return false if none may be made any more
   * @throws RuntimeException why the session is to end
   */
  boolean awaitNext(Throwable failure) throws InterruptedException {
    failures.tryEmitNext(new Failed(attempts, attempts, failure));
    attempts++;
    synchronized (bell) {
      while (!again && exhausted == null) {
        bell.await(Bell.never());
      }
      boolean next = again;
      again = false;
      return next;
    }
  }

  @Override
  public void close() {
    subscription.dispose();
  }
}
