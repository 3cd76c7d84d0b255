package io.pageflux.migration;

import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/**
 * Whether the guest is started, as the destination knows it: the destination's half of the
 * hand-over, whose other half is {@link HandOver}.
 *
 * <pre>
 *             END              LOADED            COMMIT              STARTED
 *   RECEIVING -----&gt; LOADING ------------&gt; PREPARED ---------&gt; STARTING -----------&gt; RUNS
 *       |    LOAD_STATE |    SAY_PREPARED     |     START_GUEST  |   |     SAY_RUNNING
 *       | STOP          | STOP                | STOP NOT_STARTED |   | UNCLEAR
 *       v               v                     v                  |   v
 *   RULED_OUT &lt;-------------------------------------------------+   UNCERTAIN
 *      STOP: SAY_FAILURE
 * </pre>
 *
 * <p>In post-copy {@code ALL_HERE} leads from {@code RUNS} to {@code WHOLE}, which the source is
 * told: {@code SAY_COMPLETE}, again by each connection by which it comes back.
 *
 * <p>What is not drawn is out of place: it changes nothing, and nothing may be done. A source that
 * hears a failure resumes its guest, so one may be said only when the start is ruled out: not while
 * the guest is being started, nor after a start of which nobody knows how it went.
 *
 * <p>{@link #step} is the whole of it, and pure. The rest is one reference to the state, which any
 * thread may use.
 */
final class TakeOver {

  /** How far it is. */
  enum State {
    /** Pages and device state are coming. */
    RECEIVING,
    /** All has come, and the guest takes its device state. */
    LOADING,
    /** The guest could be started, and the source was told. */
    PREPARED,
    /** The guest is being started: it may run. */
    STARTING,
    /** It runs. */
    RUNS,
    /** It runs, and every page of it has come. */
    WHOLE,
    /** It does not run, and will not. */
    RULED_OUT,
    /** Its start failed or did not end, and it may run. */
    UNCERTAIN
  }

  /** What happens. */
  enum Event {
    /** The source says END. */
    END,
    /** The guest has its device state. */
    LOADED,
    /** The source says COMMIT. */
    COMMIT,
    /** The guest has been started. */
    STARTED,
    /** Every page has come that the guest lacked when it was started. */
    ALL_HERE,
    /** The guest could not be started, and surely does not run. */
    NOT_STARTED,
    /** Nobody knows whether the guest has been started, or ever will. */
    UNCLEAR,
    /** Something fails, here, there or between, or somebody wants the migration to stop. */
    STOP
  }

  /** What is to be done, once, by who gave the event. */
  enum Action {
    /** Nothing more. */
    NONE,
    /** Have the guest take its device state. */
    LOAD_STATE,
    /** Say PREPARED. */
    SAY_PREPARED,
    /** Start the guest. */
    START_GUEST,
    /** Say RUNNING. */
    SAY_RUNNING,
    /** Say that every page is here: the source's memory is not needed any more. */
    SAY_COMPLETE,
    /** Say FAILURE, if the source does not know it yet: it may resume its guest. */
    SAY_FAILURE
  }

  /** What follows from an event. */
  record Step(State next, Action action) {}

  /** {@return what follows from an event in a state; null if it is out of place, or too late} */
  static @Nullable Step step(State state, Event event) {
    return switch (event) {
      case END -> state == State.RECEIVING ? to(State.LOADING, Action.LOAD_STATE) : null;
      case LOADED -> state == State.LOADING ? to(State.PREPARED, Action.SAY_PREPARED) : null;
      case COMMIT -> state == State.PREPARED ? to(State.STARTING, Action.START_GUEST) : null;
      case STARTED -> state == State.STARTING ? to(State.RUNS, Action.SAY_RUNNING) : null;
      case ALL_HERE ->
          switch (state) {
            case RUNS, WHOLE -> to(State.WHOLE, Action.SAY_COMPLETE);
            default -> null;
          };
      case NOT_STARTED -> state == State.STARTING ? to(State.RULED_OUT, Action.NONE) : null;
      case UNCLEAR -> state == State.STARTING ? to(State.UNCERTAIN, Action.NONE) : null;
      case STOP ->
          switch (state) {
            case RECEIVING, LOADING, PREPARED, RULED_OUT -> to(State.RULED_OUT, Action.SAY_FAILURE);
            case STARTING, RUNS, WHOLE, UNCERTAIN -> null;
          };
    };
  }

  private static Step to(State next, Action action) {
    return new Step(next, action);
  }

  private final AtomicReference<State> state = new AtomicReference<>(State.RECEIVING);

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

  /** {@return whether the guest is not started here, and will not be} */
  boolean stop() {
    return take(Event.STOP) == Action.SAY_FAILURE;
  }

  /** {@return whether the guest is being started} */
  boolean isStarting() {
    return state.get() == State.STARTING;
  }
}
