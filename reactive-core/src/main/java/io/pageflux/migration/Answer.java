package io.pageflux.migration;

import reactor.core.Scannable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/** What the peer is asked, and answers: once, and not before it was asked. */
final class Answer<V> {

  private final Sinks.One<V> given = Sinks.one();
  private volatile boolean asked;

  /** The question is about to be sent. What was written before is seen by who {@link #give}s. */
  void ask() {
    asked = true;
  }

  /** {@return false if nobody has asked, or the answer was given before} */
  boolean give(V answer) {
    return asked && given.tryEmitValue(answer).isSuccess();
  }

  Mono<V> asMono() {
    return given.asMono();
  }

  /** {@return whether it was given} */
  boolean isGiven() {
    return given.scanOrDefault(Scannable.Attr.TERMINATED, false);
  }

  /** {@return whether it was asked for} */
  boolean isAsked() {
    return asked;
  }
}
