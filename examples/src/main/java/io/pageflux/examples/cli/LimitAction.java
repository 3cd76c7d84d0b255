package io.pageflux.examples.cli;

import io.pageflux.convergence.ConvergenceLimits.AtLimit;

/** What to do with a guest that writes faster than it can be sent, in the end. */
public enum LimitAction {
  /** Switch over all the same. */
  SWITCH(AtLimit.SWITCH_OVER),
  /** Give up. */
  ABORT(AtLimit.ABORT);

  private final AtLimit atLimit;

  LimitAction(AtLimit atLimit) {
    this.atLimit = atLimit;
  }

  /** {@return what it is to a migration} */
  public AtLimit atLimit() {
    return atLimit;
  }
}
