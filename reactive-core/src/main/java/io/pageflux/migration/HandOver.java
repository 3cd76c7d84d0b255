package io.pageflux.migration;

import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/**
 * Who may run the guest, as the source knows it: the source's half of the hand-over, whose other
 * half is {@link TakeOver}.
 *
 * <pre>
 *        SWITCH_OVER           PAUSED            OFFER             PREPARED             RUNNING
 *   RUNS ----------&gt; PAUSING ----------&gt; PAUSED -------&gt; OFFERED ----------&gt; COMMITTED ---------&gt; TAKEN
 *    |   PAUSE_GUEST    |                  |    SAY_END     |     SAY_COMMIT  |       |
 *    | STOP, REFUSED    |  STOP, REFUSED   |                |         REFUSED |       | END
 *    v                  v                  v                v                 |       v
 * STOPPED            STOPPED_PAUSED &lt;----------------------------------------+    UNCERTAIN
 *    |                  | END: RESUME_GUEST                                        TELL_UNCERTAIN
 *    +-----&gt; KEPT &lt;----+
 * </pre>
 *
 * <p>In post-copy {@code COMPLETE} leads from {@code TAKEN} to {@code RELEASED}: until then the
 * guest lacks pages, or may lack them, that are only here.
 *
 * <p>{@code END} leads from each state on the left of the commit to {@code KEPT} as well. What is
 * not drawn is out of place: it changes nothing, and nothing may be done.
 *
 * <p>Committing and stopping race: a cancellation may come while the last answer of the destination
 * is being heard. Whichever changes the state first wins, and the other does not happen: COMMIT is
 * said only by who was told to, and the guest is resumed here only by who was told to.
 *
 * <p>{@link #step} is the whole of it, and pure: a test walks through all that two sides and a bad
 * line can make of it. The rest is one reference to the state, which any thread may use.
 */
final class HandOver {

  /** How far it is. */
  enum State {
    /** The guest runs here. */
    RUNS,
    /** It is to stop, and may still run. */
    PAUSING,
    /** It stands still. */
    PAUSED,
    /** The destination was told all there is, and asked whether it has it. */
    OFFERED,
    /** There will be no hand-over; the guest was never paused. */
    STOPPED,
    /** There will be no hand-over; the guest was paused, or is being. */
    STOPPED_PAUSED,
    /** The destination may run it, and may not know it; the source must not. */
    COMMITTED,
    /** The destination runs it. */
    TAKEN,
    /** The destination runs it, and lacks none of its pages any more. */
    RELEASED,
    /** The destination may run it, and nobody here will ever know. */
    UNCERTAIN,
    /** It runs here, or is about to. */
    KEPT
  }

  /** What happens. */
  enum Event {
    /** The guest is to be paused for the last round. */
    SWITCH_OVER,
    /** The guest has been paused. */
    PAUSED,
    /** END is to be said. */
    OFFER,
    /** The destination says that it has everything. */
    PREPARED,
    /** The destination says that the guest runs there. */
    RUNNING,
    /** The destination says that it has every page of a guest that it runs. */
    COMPLETE,
    /** The destination says that it has not started the guest and will not. */
    REFUSED,
    /** Somebody wants the migration to stop. */
    STOP,
    /** The conversation ends; nothing is heard any more. */
    END
  }

  /** What is to be done, once, by who gave the event. */
  enum Action {
    /** Nothing more. */
    NONE,
    /** Pause the guest. */
    PAUSE_GUEST,
    /** Say END. */
    SAY_END,
    /** Say COMMIT. Nobody else may have said it, and from here on the guest is given up. */
    SAY_COMMIT,
    /** Resume the guest, as soon as a pause that was begun has ended. */
    RESUME_GUEST,
    /** Say that the guest stays paused, and may run at the destination. */
    TELL_UNCERTAIN,
    /** Say that the guest runs at the destination. */
    TELL_TAKEN
  }

  /** What follows from an event. */
  record Step(State next, Action action) {}

  /** {@return what follows from an event in a state; null if it is out of place, or too late} */
  static @Nullable Step step(State state, Event event) {
    return switch (event) {
      case SWITCH_OVER -> state == State.RUNS ? to(State.PAUSING, Action.PAUSE_GUEST) : null;
      case PAUSED ->
          switch (state) {
            case PAUSING -> to(State.PAUSED, Action.NONE);
            case STOPPED_PAUSED, KEPT -> to(state, Action.NONE); // it was paused all the same
            default -> null;
          };
      case OFFER -> state == State.PAUSED ? to(State.OFFERED, Action.SAY_END) : null;
      case PREPARED -> state == State.OFFERED ? to(State.COMMITTED, Action.SAY_COMMIT) : null;
      case RUNNING -> state == State.COMMITTED ? to(State.TAKEN, Action.NONE) : null;
      case COMPLETE -> state == State.TAKEN ? to(State.RELEASED, Action.NONE) : null;
      case REFUSED ->
          switch (state) {
            case COMMITTED -> to(State.STOPPED_PAUSED, Action.NONE);
            // Somebody who has said that it runs, or is not believed any more.
            case TAKEN, RELEASED, UNCERTAIN -> null;
            default -> step(state, Event.STOP);
          };
      case STOP ->
          switch (state) {
            case RUNS -> to(State.STOPPED, Action.NONE);
            case PAUSING, PAUSED, OFFERED -> to(State.STOPPED_PAUSED, Action.NONE);
            case STOPPED, STOPPED_PAUSED, KEPT -> to(state, Action.NONE);
            case COMMITTED, TAKEN, RELEASED, UNCERTAIN -> null;
          };
      case END ->
          switch (state) {
            case RUNS, STOPPED, KEPT -> to(State.KEPT, Action.NONE);
            case PAUSING, PAUSED, OFFERED, STOPPED_PAUSED -> to(State.KEPT, Action.RESUME_GUEST);
            case COMMITTED, UNCERTAIN -> to(State.UNCERTAIN, Action.TELL_UNCERTAIN);
            case TAKEN -> to(State.TAKEN, Action.TELL_TAKEN);
            case RELEASED -> to(State.RELEASED, Action.NONE);
          };
    };
  }

  private static Step to(State next, Action action) {
    return new Step(next, action);
  }

  private final AtomicReference<State> state = new AtomicReference<>(State.RUNS);

  /**
   * Takes an event. {@return what is to be done; null if the event is out of place, or too late}
   */
  @Nullable Action take(Event event) {
    while (true) {
      State before = state.get();
      Step step = step(before, event);
      if (step == null) {
        return null;
      }
      if (state.compareAndSet(before, step.next())) {
        return step.action();
      }
    }
  }

  /** Gives the guest up. {@return whether COMMIT is to be said; else it is too late} */
  boolean commit() {
    return take(Event.PREPARED) == Action.SAY_COMMIT;
  }

  /** Rules the hand-over out. {@return false if it is too late: the guest was given up} */
  boolean stop() {
    return take(Event.STOP) != null;
  }

  /** {@return whether the guest runs at the destination} */
  boolean isTaken() {
    return switch (state.get()) {
      case TAKEN, RELEASED -> true;
      default -> false;
    };
  }

  /** {@return whether the guest was given up} */
  boolean isGivenUp() {
    return switch (state.get()) {
      case COMMITTED, TAKEN, RELEASED, UNCERTAIN -> true;
      default -> false;
    };
  }
}
