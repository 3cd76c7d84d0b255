package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.MigrationText;
import java.time.Duration;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import java.util.function.Supplier;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;
import reactor.util.context.Context;

/** Calls somebody's hooks, and sees to it that they end, one way or the other. */
final class HookCalls {

  /** Reactor's key for what is done with errors that come after a cancellation. */
  private static final Context IGNORING_LATE_ERRORS =
      Context.of("reactor.onErrorDropped.local", (Consumer<Throwable>) late -> {});

  private final MigrationHooks hooks;
  private final Duration patience;
  private final Scheduler timer;

  HookCalls(MigrationHooks hooks, Duration patience, Scheduler timer) {
    this.hooks = hooks;
    this.patience = patience;
    this.timer = timer;
  }

  /** {@return whether there is nothing to call} */
  boolean none() {
    return hooks == MigrationHooks.NONE;
  }

  Mono<Void> before(MigrationHooks.Round round) {
    return call("before round " + round.round(), () -> hooks.beforeRound(round));
  }

  Mono<Void> after(RoundReport report) {
    return call("after round " + report.round(), () -> hooks.afterRound(report));
  }

  /** On a thread of its own kind: were it the scanning one, it would keep it from cleaning up. */
  private Mono<Void> call(String when, Supplier<Mono<Void>> hook) {
    return none() ? Mono.empty() : limited("the hook " + when, hook);
  }

  private Mono<Void> limited(String what, Supplier<Mono<Void>> work) {
    return SafeCall.on(Schedulers.boundedElastic(), work)
        // Who is interrupted because it takes too long may well say so.
        .contextWrite(IGNORING_LATE_ERRORS)
        .timeout(patience, timer)
        .onErrorMap(e -> failure(what, e));
  }

  private MigrationException failure(String what, Throwable e) {
    if (e instanceof TimeoutException) {
      return MigrationException.of(
          Kind.TIMEOUT, "%s took longer than %s".formatted(what, MigrationText.of(patience)));
    }
    return MigrationException.of(
        e instanceof MigrationException known ? known.kind() : Kind.INTERNAL,
        "%s failed: %s".formatted(what, MigrationText.of(e)),
        e);
  }
}
