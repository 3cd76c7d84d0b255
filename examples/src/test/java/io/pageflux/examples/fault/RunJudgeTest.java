package io.pageflux.examples.fault;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.examples.fault.RunResult.Course;
import io.pageflux.examples.fault.RunResult.Finding;
import io.pageflux.examples.fault.RunResult.Kind;
import io.pageflux.transport.fault.Fault;
import io.pageflux.transport.fault.FaultPlan;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What must never be is found, and nothing else. */
class RunJudgeTest {

  private static final Ending GONE = Ending.completed(false);
  private static final Ending HERE = Ending.completed(true);
  private static final Ending KEPT = Ending.failed("the line broke", true);
  private static final Ending TAKEN = Ending.failed("x; the guest runs at the destination", false);
  private static final Ending UNCERTAIN = Ending.failed("x; it stays paused here", false);
  private static final Ending RULED_OUT = Ending.failed("the line broke", false);
  private static final Ending LACKS = Ending.failed("x; " + Ending.LACKS + " 3 pages", true);
  private static final Ending MAY_RUN = Ending.failed("x; it may run here", false);
  private static final Ending DEAD = Ending.died("killed");

  private static FaultRun run(Mode mode, Scenario scenario) {
    FaultPlan plan = FaultPlan.of(Fault.cutAfter(1), Fault.NONE);
    return new FaultRun(
        1,
        1,
        FaultRun.Sides.ONE_PROCESS,
        mode,
        scenario,
        1 << 20,
        0,
        false,
        false,
        false,
        List.of(scenario == Scenario.NOTHING ? FaultPlan.NONE : plan),
        false,
        Duration.ZERO,
        false);
  }

  /** Both sides of an attempt that went as it is to have gone, and of another that went well. */
  private static final class Played implements RunJudge.Sides, Side.Source, Side.Destination {
    private final Ending out;
    private final Ending in;
    private final boolean struck;
    private String problem = "";
    private boolean again;
    private boolean resumed;
    private boolean filled;

    Played(Ending out, Ending in, boolean struck) {
      this.out = out;
      this.in = in;
      this.struck = struck;
    }

    @Override
    public Side.Source source() {
      return this;
    }

    @Override
    public Side.Destination destination() {
      return this;
    }

    @Override
    public void disturb(Side.Source source, Side.Destination destination) {}

    @Override
    public void calm(Side.Source source, Side.Destination destination) {}

    @Override
    public boolean struck() {
      return struck;
    }

    @Override
    public Path folder() {
      return Path.of("nowhere");
    }

    @Override
    public String listen(boolean faulty) {
      again = !faulty;
      return "nowhere";
    }

    @Override
    public Ending attempt(String address, boolean faulty) {
      return again ? GONE : out;
    }

    @Override
    public void stopIfNobodyCame() {}

    @Override
    public Ending await() {
      return again ? HERE : in;
    }

    @Override
    public void resume() {
      resumed = true;
    }

    @Override
    public void keep(Path file) {}

    @Override
    public void fill(Path file) {
      filled = true;
    }

    @Override
    public boolean isAlive() {
      return true;
    }

    @Override
    public String verify() {
      return problem;
    }

    @Override
    public String end() {
      return "";
    }
  }

  private static RunResult judge(Mode mode, Scenario scenario, Played sides) {
    return new RunJudge(run(mode, scenario), sides).judge();
  }

  private static Played isWell(
      Course course, boolean again, Mode mode, Scenario scenario, Ending out, Ending in) {
    Played sides = new Played(out, in, true);
    RunResult result = judge(mode, scenario, sides);
    assertThat(result.findings()).isEmpty();
    assertThat(result.course()).isEqualTo(course);
    assertThat(sides.again).isEqualTo(again);
    return sides;
  }

  private static void finds(Kind kind, Mode mode, Scenario scenario, Ending out, Ending in) {
    assertThat(judge(mode, scenario, new Played(out, in, true)).findings())
        .extracting(Finding::kind)
        .contains(kind);
  }

  @Test
  void whatTheTwoSidesSayGoesTogether() {
    isWell(Course.COMPLETED, false, Mode.PRECOPY, Scenario.CUT, GONE, HERE);
    isWell(Course.KEPT, true, Mode.PRECOPY, Scenario.CUT, KEPT, RULED_OUT);
    isWell(Course.FOUND_THERE, false, Mode.PRECOPY, Scenario.CUT, UNCERTAIN, HERE);
    isWell(Course.FOUND_THERE, false, Mode.PRECOPY, Scenario.CUT, UNCERTAIN, MAY_RUN);
    isWell(Course.FOUND_THERE, false, Mode.POSTCOPY, Scenario.CUT, TAKEN, HERE);
    assertThat(
            isWell(
                    Course.RESUMED_BY_A_PERSON,
                    true,
                    Mode.PRECOPY,
                    Scenario.CUT,
                    UNCERTAIN,
                    RULED_OUT)
                .resumed)
        .isTrue();
  }

  @Test
  void whatDoesNotGoTogetherIsFound() {
    finds(Kind.TWO_GUESTS, Mode.PRECOPY, Scenario.CUT, KEPT, HERE);
    finds(Kind.TWO_GUESTS, Mode.PRECOPY, Scenario.CUT, KEPT, MAY_RUN);
    finds(Kind.TWO_GUESTS, Mode.POSTCOPY, Scenario.CUT, KEPT, LACKS);
    finds(Kind.LOST, Mode.PRECOPY, Scenario.CUT, GONE, RULED_OUT);
    finds(Kind.LOST, Mode.POSTCOPY, Scenario.CUT, TAKEN, RULED_OUT);
    finds(Kind.OTHER, Mode.PRECOPY, Scenario.CUT, TAKEN, MAY_RUN);
  }

  @Test
  void whoSaysWhatIsNotSoIsFound() {
    finds(Kind.LOST, Mode.PRECOPY, Scenario.CUT, Ending.failed("x", false), RULED_OUT);
    finds(
        Kind.TWO_GUESTS,
        Mode.PRECOPY,
        Scenario.CUT,
        Ending.failed(UNCERTAIN.message(), true),
        RULED_OUT);
    finds(Kind.TWO_GUESTS, Mode.PRECOPY, Scenario.CUT, UNCERTAIN, Ending.failed("x", true));
    finds(Kind.LOST, Mode.PRECOPY, Scenario.CUT, GONE, Ending.completed(false));
    finds(Kind.LOST, Mode.POSTCOPY, Scenario.CUT, TAKEN, Ending.failed(LACKS.message(), false));
  }

  @Test
  void whatTheGuestLacksIsBroughtFromTheSourceWhereNoLineIsMended() {
    assertThat(
            isWell(Course.FILLED_BY_HAND, false, Mode.POSTCOPY, Scenario.CUT, TAKEN, LACKS).filled)
        .isTrue();
    isWell(Course.FILLED_BY_HAND, false, Mode.POSTCOPY, Scenario.CUT, UNCERTAIN, LACKS);
    finds(Kind.LOST, Mode.POSTCOPY, Scenario.CUT, GONE, LACKS);
    finds(Kind.LOST, Mode.PRECOPY, Scenario.CUT, UNCERTAIN, LACKS);
  }

  @Test
  void aLineThatBothSidesMendIsMended() {
    finds(Kind.OTHER, Mode.RECOVER, Scenario.CUT, TAKEN.agreed(true), LACKS);
    finds(Kind.OTHER, Mode.RECOVER, Scenario.STALL, UNCERTAIN.agreed(true), RULED_OUT);
    finds(Kind.OTHER, Mode.RECOVER, Scenario.CUT, TAKEN.agreed(true), HERE);
    finds(Kind.OTHER, Mode.RESUME, Scenario.CUT, KEPT.agreed(true), RULED_OUT);
  }

  @Test
  void itIsNotWhereThatCannotBe() {
    // They have not agreed on it yet.
    isWell(Course.KEPT, true, Mode.RESUME, Scenario.CUT, KEPT, RULED_OUT);
    isWell(Course.KEPT, true, Mode.RECOVER, Scenario.CUT, KEPT, RULED_OUT);
    // Nobody comes back to a hand-over of pre-copy.
    Ending open = UNCERTAIN.agreed(true);
    isWell(Course.RESUMED_BY_A_PERSON, true, Mode.RESUME, Scenario.CUT, open, RULED_OUT);
    isWell(Course.FOUND_THERE, false, Mode.RESUME, Scenario.CUT, open, HERE);
    // It is no line that is lost.
    Ending taken = TAKEN.agreed(true);
    isWell(Course.FILLED_BY_HAND, false, Mode.RECOVER, Scenario.FLIP, taken, LACKS);
    isWell(Course.FILLED_BY_HAND, false, Mode.RECOVER, Scenario.STOP_SOURCE, taken, LACKS);
    isWell(Course.KEPT, true, Mode.RESUME, Scenario.TIME_LIMIT, KEPT.agreed(true), RULED_OUT);
    // They mend nothing.
    isWell(Course.KEPT, true, Mode.PRECOPY, Scenario.CUT, KEPT.agreed(true), RULED_OUT);
  }

  @Test
  void whatFailsThoughNothingHasHappenedIsFound() {
    Played sides = new Played(KEPT, RULED_OUT, false);
    assertThat(judge(Mode.PRECOPY, Scenario.NOTHING, sides).findings())
        .extracting(Finding::kind)
        .containsExactly(Kind.OTHER);
    Played well = new Played(GONE, HERE, false);
    assertThat(judge(Mode.PRECOPY, Scenario.NOTHING, well).findings()).isEmpty();
  }

  @Test
  void aGuestThatDoesNotStandStillToBeVerifiedHangs() {
    Played sides = new Played(GONE, HERE, true);
    sides.problem = WatchedGuest.HANGS + " within a moment";
    assertThat(judge(Mode.POSTCOPY, Scenario.CUT, sides).findings())
        .extracting(Finding::kind)
        .containsExactly(Kind.HANG);
    sides.problem = "page 3 is another one";
    assertThat(judge(Mode.POSTCOPY, Scenario.CUT, sides).findings())
        .extracting(Finding::kind)
        .containsExactly(Kind.WRONG_PAGES);
  }

  @Test
  void aGuestMayDieWithItsProcess() {
    isWell(Course.DIED_WITH_ITS_PROCESS, true, Mode.PRECOPY, Scenario.KILL_SOURCE, DEAD, RULED_OUT);
    isWell(
        Course.DIED_WITH_ITS_PROCESS, false, Mode.PRECOPY, Scenario.KILL_DESTINATION, GONE, DEAD);
    isWell(Course.DIED_WITH_ITS_PROCESS, false, Mode.REUSE, Scenario.KILL_DESTINATION, TAKEN, DEAD);
    isWell(Course.FOUND_THERE, false, Mode.PRECOPY, Scenario.KILL_SOURCE, DEAD, HERE);
    // Nobody knows whether it runs there: no other one is sent after it.
    isWell(Course.FOUND_THERE, false, Mode.PRECOPY, Scenario.KILL_SOURCE, DEAD, MAY_RUN);
    finds(Kind.OTHER, Mode.PRECOPY, Scenario.CUT, DEAD, RULED_OUT);
  }
}
