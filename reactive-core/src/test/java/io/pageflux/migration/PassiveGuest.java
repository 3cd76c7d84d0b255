package io.pageflux.migration;

import reactor.core.publisher.Mono;

/** A guest that does nothing, to be overridden in part. */
class PassiveGuest implements Guest {

  @Override
  public Mono<Void> pause() {
    return Mono.empty();
  }

  @Override
  public Mono<Void> resume() {
    return Mono.empty();
  }
}
