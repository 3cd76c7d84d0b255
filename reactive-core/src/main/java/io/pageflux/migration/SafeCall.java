package io.pageflux.migration;

import io.pageflux.channel.MigrationText;
import java.util.concurrent.RejectedExecutionException;
import java.util.function.Supplier;
import reactor.core.Disposable;
import reactor.core.Disposables;
import reactor.core.Exceptions;
import reactor.core.publisher.Mono;
import reactor.core.publisher.MonoSink;
import reactor.core.scheduler.Scheduler;

/**
 * Calls what is not the library's, such as a guest, and hears of its end whatever it throws.
 *
 * <p>Reactor throws some errors rather than signal them, a lack of memory among them, and a thread
 * of a pool swallows them: nobody would ever hear of the call again, and a guest that was paused
 * for it would stay so.
 */
final class SafeCall {

  private SafeCall() {}

  /**
   * A call, made on a thread that may block. Cancelling cancels it and interrupts the thread.
   *
   * @return ends in error whatever is thrown while the call begins, and with what it signals then
   */
  static Mono<Void> on(Scheduler thread, Supplier<? extends Mono<Void>> call) {
    return Mono.create(
        sink -> {
          Disposable.Swap running = Disposables.swap();
          Disposable.Swap begin = Disposables.swap();
          sink.onDispose(Disposables.composite(running, begin));
          try {
            begin.update(thread.schedule(() -> begin(call, sink, running)));
          } catch (RejectedExecutionException e) {
            sink.error(e);
          }
        });
  }

  private static void begin(
      Supplier<? extends Mono<Void>> call, MonoSink<Void> sink, Disposable.Swap running) {
    try {
      running.update(
          call.get().subscribe(nothing -> {}, e -> sink.error(bearable(e)), sink::success));
    } catch (Throwable e) {
      sink.error(bearable(e));
    }
  }

  /** {@return an error that Reactor passes on, of one that it may throw} */
  static Throwable bearable(Throwable e) {
    Throwable cause = Exceptions.unwrap(e);
    if (cause instanceof OutOfMemoryError) {
      return new IllegalStateException("out of memory: " + MigrationText.of(cause), cause);
    }
    return Exceptions.isFatal(cause)
        ? new IllegalStateException(MigrationText.of(cause), cause)
        : cause;
  }
}
