package io.pageflux.migration;

import java.util.concurrent.atomic.AtomicReference;

/**
 * Who may run the guest, as the source knows it: the one decision that must not be taken twice.
 *
 * <pre>
 *             commit                peer says that it runs
 *   SOURCE ----------> COMMITTED ------------------------> DESTINATION
 *     |                    |
 *     | abort              | peer says that it will not run it
 *     v                    v
 *   ABORTED <--------------+
 * </pre>
 *
 * <p>Committing and aborting race: a cancellation may come while the last answer of the destination
 * is being heard. Whichever changes the state first wins, and the other does not happen: the record
 * that lets the destination run is sent only after {@link #commit()} returned true, and the guest
 * is resumed here only after {@link #abort()} did.
 */
final class HandOver {

  private enum State {
    /** The source may run it. */
    SOURCE,
    /** The destination may run it, and may not know it; the source must not. */
    COMMITTED,
    /** The destination runs it. */
    DESTINATION,
    /** There will be no hand-over: the source may run it. */
    ABORTED
  }

  private final AtomicReference<State> state = new AtomicReference<>(State.SOURCE);

  /** Gives the guest up. {@return false if the hand-over was aborted before} */
  boolean commit() {
    return state.compareAndSet(State.SOURCE, State.COMMITTED);
  }

  /** Keeps the guest. {@return false if it is too late: it was given up} */
  boolean abort() {
    return state.compareAndSet(State.SOURCE, State.ABORTED) || state.get() == State.ABORTED;
  }

  /** The destination says that it has not started the guest and will not. */
  void refused() {
    if (!state.compareAndSet(State.COMMITTED, State.ABORTED)) {
      state.compareAndSet(State.SOURCE, State.ABORTED);
    }
  }

  /** The destination says that the guest runs there. {@return false if it was not given up} */
  boolean taken() {
    return state.compareAndSet(State.COMMITTED, State.DESTINATION);
  }

  /** {@return whether the guest runs at the destination} */
  boolean isTaken() {
    return state.get() == State.DESTINATION;
  }

  /** {@return whether the guest was given up, and nobody here knows whether it runs} */
  boolean isUncertain() {
    return state.get() == State.COMMITTED;
  }

  /** {@return whether the guest was given up} */
  boolean isGivenUp() {
    State now = state.get();
    return now == State.COMMITTED || now == State.DESTINATION;
  }
}
