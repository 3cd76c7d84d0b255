package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.migration.HandOverModel.Guest;
import io.pageflux.migration.HandOverModel.Machines;
import io.pageflux.migration.HandOverModel.RealMachines;
import io.pageflux.migration.HandOverModel.Side;
import io.pageflux.migration.HandOverModel.World;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** All that can happen in a hand-over, tried on the state machines that the sessions use. */
class HandOverModelTest {

  /** What the package's documentation tells people to do, and no more. */
  private static boolean asDocumented(World w) {
    boolean nobodyElseDoes =
        !w.source().alive() || w.source().over() && w.source().state() == HandOver.State.UNCERTAIN;
    return nobodyElseDoes
        && w.source().guest() == Guest.STANDS
        && w.destination().isFinal()
        && !w.destination().guest().mayRun();
  }

  private static HandOverModel model(
      Machines machines, boolean guestsSurvive, Predicate<World> person) {
    return new HandOverModel(machines, guestsSurvive, person);
  }

  private static HandOverModel real(boolean guestsSurvive) {
    return model(new RealMachines(), guestsSurvive, HandOverModelTest::asDocumented);
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void twoGuestsNeverRunWhateverHappens(boolean guestsSurvive) {
    HandOverModel model = real(guestsSurvive);
    Collection<World> all = model.explore();
    assertThat(all.stream().map(w -> w.source().state()).distinct())
        .hasSize(HandOver.State.values().length);
    assertThat(all.stream().map(w -> w.destination().state()).distinct())
        .hasSize(TakeOver.State.values().length);
    assertThat(model.runningTwice())
        .as(() -> model.path(model.runningTwice().getFirst()))
        .isEmpty();
  }

  /** A side's last word, as a person reads it. */
  private static String lastWord(Side<?> side) {
    return side.alive() ? side.state().toString() : "died";
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void whatTheTwoSidesSayInTheEndFitsTogether(boolean guestsSurvive) throws IOException {
    Set<String> pairs = new TreeSet<>();
    for (World w : real(guestsSurvive).explore()) {
      if (w.isFinal()) {
        pairs.add(lastWord(w.source()) + " " + lastWord(w.destination()));
      }
    }
    assertThat(pairs).isEqualTo(documented());
  }

  /** The pairs of last words in the table for people. */
  private static Set<String> documented() throws IOException {
    Set<String> pairs = new TreeSet<>();
    Pattern row = Pattern.compile("\\| `(\\w+)` \\| `(\\w+)` \\|.*");
    for (String line : Files.readAllLines(Path.of("HAND-OVER.md"))) {
      Matcher matcher = row.matcher(line);
      if (matcher.matches()) {
        pairs.add(matcher.group(1) + " " + matcher.group(2));
      }
    }
    return pairs;
  }

  @Test
  void aGuestIsWhereTheSourceSaysThatItIs() {
    HandOverModel model = real(true);
    for (World w : model.explore()) {
      if (!w.source().alive() || !w.source().over()) {
        continue;
      }
      Guest here = w.source().guest();
      Guest there = w.destination().guest();
      switch (w.source().state()) {
        case KEPT -> {
          assertThat(here.mayRun()).as(() -> model.path(w)).isTrue();
          assertThat(there.mayRun()).as(() -> model.path(w)).isFalse();
        }
        case TAKEN, RELEASED -> {
          assertThat(here).as(() -> model.path(w)).isEqualTo(Guest.STANDS);
          assertThat(there).as(() -> model.path(w)).isEqualTo(Guest.RUNS);
        }
        case UNCERTAIN -> assertThat(here).isIn(Guest.STANDS, Guest.RUNS);
        default -> throw new AssertionError("no end: " + model.path(w));
      }
    }
  }

  @Test
  void aSourceThatComesBackLearnsWhereTheGuestIs() {
    HandOverModel model = real(true);
    long runs = 0;
    long ruledOut = 0;
    for (World w : model.explore()) {
      if (w.source().state() != HandOver.State.COMMITTED || !w.source().alive()) {
        continue;
      }
      // Both answers are possible of whoever is still there, and settle it.
      if (w.carries(HandOverModel.Message.RUNNING)) {
        assertThat(w.destination().guest()).as(() -> model.path(w)).isIn(Guest.RUNS, Guest.NONE);
        runs++;
      }
      if (w.carries(HandOverModel.Message.DESTINATION_FAILURE)) {
        assertThat(w.destination().guest().mayRun()).as(() -> model.path(w)).isFalse();
        ruledOut++;
      }
    }
    assertThat(runs).isPositive();
    assertThat(ruledOut).isPositive();
  }

  /** {@return moments at which the source has let go of its memory, and not all of it is there} */
  private static List<World> releasedTooEarly(HandOverModel model) {
    return model.explore().stream()
        .filter(w -> w.source().state() == HandOver.State.RELEASED && w.destination().alive())
        .filter(w -> w.destination().state() != TakeOver.State.WHOLE)
        .toList();
  }

  @Test
  void theSourcesMemoryIsKeptUntilTheDestinationHasAllOfIt() {
    HandOverModel model = real(true);
    assertThat(releasedTooEarly(model)).isEmpty();
    assertThat(model.settled()).isNotEmpty();
  }

  @Test
  void aSourceThatComesBackLearnsThatItsMemoryIsNotNeeded() {
    HandOverModel model = real(true);
    long told = 0;
    for (World w : model.explore()) {
      boolean bothGoOn = !w.source().isFinal() && !w.destination().isFinal();
      if (bothGoOn && w.destination().state() == TakeOver.State.WHOLE) {
        // It can be told as long as it does not know, and nothing else is heard of it then.
        assertThat(w.source().state())
            .as(() -> model.path(w))
            .isIn(HandOver.State.TAKEN, HandOver.State.RELEASED);
        if (w.source().state() == HandOver.State.TAKEN) {
          HandOver.Step step = HandOver.step(w.source().state(), HandOver.Event.COMPLETE);
          assertThat(step)
              .isEqualTo(new HandOver.Step(HandOver.State.RELEASED, HandOver.Action.NONE));
          told++;
        }
      }
    }
    assertThat(told).isPositive();
    // Who awaits it no longer because it knows is right.
    for (World w : model.settled()) {
      assertThat(w.source().state()).as(() -> model.path(w)).isEqualTo(HandOver.State.RELEASED);
    }
  }

  @Test
  void noGuestIsLostThatCouldBeResumed() {
    HandOverModel model = real(true);
    for (World w : model.explore()) {
      if (w.isFinal() && w.destination().state() != TakeOver.State.UNCERTAIN) {
        boolean runs = w.source().guest().mayRun() || w.destination().guest().mayRun();
        boolean isPausing = w.source().guest() == Guest.PAUSING;
        assertThat(runs || isPausing || asDocumented(w)).as(() -> model.path(w)).isTrue();
      }
    }
  }

  @Test
  void whoSurvivesADestinationThatDiesAtAnyPointBeforeTheCommitHasTheGuest() {
    HandOverModel model = real(false);
    for (World w : model.explore()) {
      boolean given =
          switch (w.source().state()) {
            case COMMITTED, TAKEN, RELEASED, UNCERTAIN -> true;
            default -> false;
          };
      if (w.source().alive() && !w.destination().alive() && w.source().over() && !given) {
        assertThat(w.source().guest().mayRun()).as(() -> model.path(w)).isTrue();
      }
    }
  }

  // The model finds what is wrong: each of these is one rule less.

  private static void assertFindsTwoGuests(Machines broken) {
    HandOverModel model = model(broken, true, HandOverModelTest::asDocumented);
    model.explore();
    assertThat(model.runningTwice()).isNotEmpty();
  }

  @Test
  void aDestinationThatSaysTooEarlyThatItHasAllLosesPages() {
    HandOverModel model =
        model(
            new RealMachines() {
              @Override
              public TakeOver.@Nullable Step destination(
                  TakeOver.State state, TakeOver.Event event) {
                return state == TakeOver.State.RUNS && event == TakeOver.Event.ALL_HERE
                    ? new TakeOver.Step(TakeOver.State.RUNS, TakeOver.Action.SAY_COMPLETE)
                    : super.destination(state, event);
              }
            },
            true,
            HandOverModelTest::asDocumented);
    assertThat(releasedTooEarly(model)).isNotEmpty();
  }

  @Test
  void aPersonWhoDoesNotWaitForTheDestinationsEndMakesTwo() {
    HandOverModel model =
        model(
            new RealMachines(),
            true,
            w ->
                w.source().over()
                    && w.source().guest() == Guest.STANDS
                    && !w.destination().guest().mayRun());
    model.explore();
    assertThat(model.runningTwice()).isNotEmpty();
  }

  @Test
  void aSourceThatResumesWhenItDoesNotKnowMakesTwo() {
    assertFindsTwoGuests(
        new RealMachines() {
          @Override
          public HandOver.@Nullable Step source(HandOver.State state, HandOver.Event event) {
            return state == HandOver.State.COMMITTED && event == HandOver.Event.END
                ? new HandOver.Step(HandOver.State.KEPT, HandOver.Action.RESUME_GUEST)
                : super.source(state, event);
          }
        });
  }

  @Test
  void aSourceThatCommitsBeforeItsGuestHasPausedMakesTwo() {
    assertFindsTwoGuests(
        new RealMachines() {
          @Override
          public HandOver.@Nullable Step source(HandOver.State state, HandOver.Event event) {
            return super.source(
                state == HandOver.State.PAUSING && event == HandOver.Event.OFFER
                    ? HandOver.State.PAUSED
                    : state,
                event);
          }
        });
  }

  @Test
  void aDestinationThatStartsAfterItHasRuledItOutMakesTwo() {
    assertFindsTwoGuests(
        new RealMachines() {
          @Override
          public TakeOver.@Nullable Step destination(TakeOver.State state, TakeOver.Event event) {
            return super.destination(
                state == TakeOver.State.RULED_OUT && event == TakeOver.Event.COMMIT
                    ? TakeOver.State.PREPARED
                    : state,
                event);
          }
        });
  }

  @Test
  void aDestinationThatReportsAFailureWhileItStartsMakesTwo() {
    assertFindsTwoGuests(
        new RealMachines() {
          @Override
          public TakeOver.@Nullable Step destination(TakeOver.State state, TakeOver.Event event) {
            return state == TakeOver.State.STARTING && event == TakeOver.Event.STOP
                ? new TakeOver.Step(TakeOver.State.RULED_OUT, TakeOver.Action.SAY_FAILURE)
                : super.destination(state, event);
          }
        });
  }

  @Test
  void aDestinationThatReportsAFailureAfterAStartOfWhichNobodyKnowsMakesTwo() {
    assertFindsTwoGuests(
        new RealMachines() {
          @Override
          public TakeOver.@Nullable Step destination(TakeOver.State state, TakeOver.Event event) {
            return event == TakeOver.Event.UNCLEAR && state == TakeOver.State.STARTING
                ? new TakeOver.Step(TakeOver.State.RULED_OUT, TakeOver.Action.SAY_FAILURE)
                : super.destination(state, event);
          }
        });
  }
}
