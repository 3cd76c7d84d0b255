package io.pageflux.migration;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * Two sides of a hand-over, their guests, the line between them and a person, in all the orders in
 * which things can happen to them.
 *
 * <p>The two sides are the real state machines; this is what they are run by, worse than any
 * conversation is: each message may be lost, overtaken, late (even to a side whose conversation is
 * over), and repeated any number of times; each side may fail, be stopped, run out of patience or
 * die at any point; pausing and starting a guest take time, and may fail. A destination that knows
 * where the guest is may say so again at any time, as it does to a source that has come back; and
 * that all of it has come, in post-copy, in which the destination goes on when the guest runs.
 */
final class HandOverModel {

  /** What is said on the line. */
  enum Message {
    END,
    COMMIT,
    SOURCE_FAILURE,
    /** The source has heard COMPLETE. */
    SETTLED,
    PREPARED,
    RUNNING,
    COMPLETE,
    DESTINATION_FAILURE;

    int bit() {
      return 1 << ordinal();
    }
  }

  /** A guest, as somebody sees it who looks at it. */
  enum Guest {
    RUNS,
    /** Runs until it does not. */
    PAUSING,
    STANDS,
    /** Will run, if it does not already. */
    STARTING,
    /** Is no more, or never was. */
    NONE;

    boolean mayRun() {
      return this == RUNS || this == PAUSING || this == STARTING;
    }
  }

  /** One side. */
  record Side<S>(S state, Guest guest, boolean over, boolean alive) {
    Side<S> with(S next) {
      return new Side<>(next, guest, over, alive);
    }

    Side<S> with(Guest next) {
      return new Side<>(state, next, over, alive);
    }

    Side<S> ended() {
      return new Side<>(state, guest, true, alive);
    }

    Side<S> dead(boolean guestSurvives) {
      return new Side<>(state, guestSurvives ? guest : Guest.NONE, over, false);
    }

    /** Whether nothing comes from it any more. */
    boolean isFinal() {
      return over || !alive;
    }
  }

  /** Everything, at one moment. */
  record World(Side<HandOver.State> source, Side<TakeOver.State> destination, int line) {
    World with(Side<HandOver.State> next) {
      return new World(next, destination, line);
    }

    World withDestination(Side<TakeOver.State> next) {
      return new World(source, next, line);
    }

    World saying(Message message) {
      return new World(source, destination, line | message.bit());
    }

    World losing(Message message) {
      return new World(source, destination, line & ~message.bit());
    }

    boolean carries(Message message) {
      return (line & message.bit()) != 0;
    }

    boolean runsTwice() {
      return source.guest().mayRun() && destination.guest().mayRun();
    }

    boolean isFinal() {
      return source.isFinal() && destination.isFinal();
    }
  }

  /** The state machines. */
  interface Machines {
    HandOver.@Nullable Step source(HandOver.State state, HandOver.Event event);

    TakeOver.@Nullable Step destination(TakeOver.State state, TakeOver.Event event);
  }

  /** The real ones. */
  static class RealMachines implements Machines {
    @Override
    public HandOver.@Nullable Step source(HandOver.State state, HandOver.Event event) {
      return HandOver.step(state, event);
    }

    @Override
    public TakeOver.@Nullable Step destination(TakeOver.State state, TakeOver.Event event) {
      return TakeOver.step(state, event);
    }
  }

  private record Cause(World before, String what) {}

  private final Machines machines;
  private final boolean guestsSurvive;
  private final Predicate<World> personResumesAtSource;
  private final Map<World, @Nullable Cause> seen = new HashMap<>();
  private final List<World> runningTwice = new ArrayList<>();
  private final List<World> settled = new ArrayList<>();

  /**
   * Makes a model.
   *
   * @param guestsSurvive whether guests live outside of the processes that migrate them
   * @param personResumesAtSource when a person lets a guest go on at the source that nobody else
   *     does
   */
  HandOverModel(Machines machines, boolean guestsSurvive, Predicate<World> personResumesAtSource) {
    this.machines = machines;
    this.guestsSurvive = guestsSurvive;
    this.personResumesAtSource = personResumesAtSource;
  }

  /** Walks through everything that can happen. {@return all moments there are} */
  Collection<World> explore() {
    World first =
        new World(
            new Side<>(HandOver.State.RUNS, Guest.RUNS, false, true),
            new Side<>(TakeOver.State.RECEIVING, Guest.NONE, false, true),
            0);
    ArrayDeque<World> todo = new ArrayDeque<>(List.of(first));
    seen.put(first, null);
    while (!todo.isEmpty()) {
      World world = todo.remove();
      if (world.runsTwice()) {
        runningTwice.add(world);
      }
      moves(
          world,
          (what, next) -> {
            if (!seen.containsKey(next)) {
              seen.put(next, new Cause(world, what));
              todo.add(next);
            }
          });
    }
    return seen.keySet();
  }

  /** {@return the moments at which two guests run} */
  List<World> runningTwice() {
    return runningTwice;
  }

  /** {@return the moments at which a destination ends because the source has heard of all} */
  List<World> settled() {
    return settled;
  }

  /** {@return how it came to a moment} */
  String path(World world) {
    List<String> steps = new ArrayList<>();
    Cause cause = seen.get(world);
    while (cause != null) {
      steps.addFirst(cause.what());
      cause = seen.get(cause.before());
    }
    return String.join(", then ", steps) + ": " + world;
  }

  private interface Sink {
    void add(String what, World next);
  }

  private void moves(World w, Sink sink) {
    for (Message message : Message.values()) {
      if (w.carries(message)) {
        sink.add(message + " is lost", w.losing(message));
        deliver(w.losing(message), message, message + " arrives", sink);
        deliver(w, message, message + " arrives, and will again", sink);
      }
    }
    if (w.source().alive()) {
      sourceMoves(w, sink);
    }
    if (w.destination().alive()) {
      destinationMoves(w, sink);
    }
    guestMoves(w, sink);
    if (personResumesAtSource.test(w)) {
      sink.add("a person resumes it at the source", w.with(w.source().with(Guest.RUNS)));
    }
  }

  private void deliver(World w, Message message, String what, Sink sink) {
    switch (message) {
      case END -> tell(w, TakeOver.Event.END, what, sink);
      case COMMIT -> tell(w, TakeOver.Event.COMMIT, what, sink);
      case SOURCE_FAILURE -> tell(w, TakeOver.Event.STOP, what, sink);
      case SETTLED -> {
        Side<TakeOver.State> side = w.destination();
        if (side.alive() && !side.over() && side.state() == TakeOver.State.WHOLE) {
          settled.add(w);
          sink.add(what, w.withDestination(side.ended()));
        }
      }
      case PREPARED -> give(w, HandOver.Event.PREPARED, what, sink);
      case RUNNING -> give(w, HandOver.Event.RUNNING, what, sink);
      case COMPLETE -> give(w, HandOver.Event.COMPLETE, what, sink);
      case DESTINATION_FAILURE -> give(w, HandOver.Event.REFUSED, what, sink);
    }
  }

  // The source.

  private void sourceMoves(World w, Sink sink) {
    if (!w.source().over()) {
      give(w, HandOver.Event.SWITCH_OVER, "the source switches over", sink);
      give(w, HandOver.Event.OFFER, "the source has said all", sink);
      give(w, HandOver.Event.STOP, "somebody stops the source", sink);
      give(w, HandOver.Event.END, "the source's conversation ends", sink);
    }
    sink.add("the source dies", w.with(w.source().dead(guestsSurvive)));
  }

  private void give(World w, HandOver.Event event, String what, Sink sink) {
    Side<HandOver.State> source = w.source();
    HandOver.Step step = source.alive() ? machines.source(source.state(), event) : null;
    if (step == null) {
      return;
    }
    World next = w.with(source.with(step.next()));
    switch (step.action()) {
      case PAUSE_GUEST -> next = next.with(next.source().with(Guest.PAUSING));
      case SAY_END -> next = next.saying(Message.END);
      case SAY_COMMIT -> next = next.saying(Message.COMMIT);
      case RESUME_GUEST -> next = next.with(next.source().with(Guest.STARTING));
      case NONE, TELL_UNCERTAIN, TELL_TAKEN -> {}
    }
    if (event == HandOver.Event.COMPLETE) {
      next = next.saying(Message.SETTLED);
    }
    if (event == HandOver.Event.END) {
      next = next.with(next.source().ended());
      sink.add(what + ", and it says so", next.saying(Message.SOURCE_FAILURE));
    }
    sink.add(what, next);
  }

  // The destination.

  private void destinationMoves(World w, Sink sink) {
    Side<TakeOver.State> side = w.destination();
    if (!side.over()) {
      tell(w, TakeOver.Event.LOADED, "the guest has its device state", sink);
      tell(w, TakeOver.Event.STOP, "the destination fails or is stopped", sink);
      tell(w, TakeOver.Event.UNCLEAR, "nobody knows how the start went", sink);
      pagesCome(w, sink);
    }
    switch (side.state()) {
      case RUNS -> sink.add("it is told again that the guest runs", w.saying(Message.RUNNING));
      case WHOLE -> {
        sink.add("it is told again that the guest runs", w.saying(Message.RUNNING));
        sink.add("it is told again that all of it is there", w.saying(Message.COMPLETE));
      }
      case RULED_OUT ->
          sink.add("it is told again that it does not", w.saying(Message.DESTINATION_FAILURE));
      default -> {}
    }
    sink.add("the destination dies", w.withDestination(side.dead(guestsSurvive)));
  }

  /** Only a source that knows that the guest runs there sends what it lacks. */
  private void pagesCome(World w, Sink sink) {
    switch (w.source().state()) {
      case TAKEN, RELEASED -> tell(w, TakeOver.Event.ALL_HERE, "every page has come", sink);
      default -> {}
    }
    switch (w.destination().state()) {
      case RUNS, WHOLE ->
          sink.add(
              "the destination awaits the source no longer",
              w.withDestination(w.destination().ended()));
      default -> {}
    }
  }

  private void tell(World w, TakeOver.Event event, String what, Sink sink) {
    Side<TakeOver.State> side = w.destination();
    TakeOver.Step step = side.alive() ? machines.destination(side.state(), event) : null;
    if (step == null) {
      return;
    }
    Side<TakeOver.State> after = side.with(step.next());
    switch (step.action()) {
      case START_GUEST -> sink.add(what, w.withDestination(after.with(Guest.STARTING)));
      case SAY_PREPARED -> sink.add(what, w.withDestination(after).saying(Message.PREPARED));
      case SAY_RUNNING -> {
        sink.add(what, w.withDestination(after.ended()).saying(Message.RUNNING));
        sink.add(
            what + ", before its pages are there",
            w.withDestination(after).saying(Message.RUNNING));
      }
      case SAY_COMPLETE -> sink.add(what, w.withDestination(after).saying(Message.COMPLETE));
      case SAY_FAILURE -> {
        World next = w.withDestination(after.ended());
        sink.add(what + ", and it says so", next.saying(Message.DESTINATION_FAILURE));
        sink.add(what, next);
      }
      case NONE ->
          sink.add(
              what, w.withDestination(event == TakeOver.Event.UNCLEAR ? after.ended() : after));
      case LOAD_STATE -> sink.add(what, w.withDestination(after));
    }
  }

  // What the guests do by themselves, also when nobody waits for it any more.

  private void guestMoves(World w, Sink sink) {
    switch (w.source().guest()) {
      case PAUSING -> {
        World paused = w.with(w.source().with(Guest.STANDS));
        if (w.source().alive()) {
          give(paused, HandOver.Event.PAUSED, "the guest has paused", sink);
        } else {
          sink.add("the guest has paused", paused);
        }
      }
      case STARTING ->
          sink.add("the guest goes on at the source", w.with(w.source().with(Guest.RUNS)));
      default -> {}
    }
    if (w.destination().guest() == Guest.STARTING) {
      World runs = w.withDestination(w.destination().with(Guest.RUNS));
      World stands = w.withDestination(w.destination().with(Guest.STANDS));
      boolean heard = w.destination().alive() && w.destination().state() == TakeOver.State.STARTING;
      if (heard) {
        tell(runs, TakeOver.Event.STARTED, "the guest has started", sink);
        tell(stands, TakeOver.Event.NOT_STARTED, "the guest did not start", sink);
      } else {
        sink.add("the guest has started after all", runs);
        sink.add("the guest did not start after all", stands);
      }
    }
  }
}
