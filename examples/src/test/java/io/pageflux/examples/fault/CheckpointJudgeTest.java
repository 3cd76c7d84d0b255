package io.pageflux.examples.fault;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.examples.fault.RunResult.Kind;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** What must never be is found. */
class CheckpointJudgeTest {

  private static final Ending STOPPED = Ending.completed(true);
  private static final Ending BROKEN = Ending.failed("the line broke", true);
  private static final Ending KILLED = Ending.died("killed");

  private final RunFolder folder = RunFolder.make();

  @AfterEach
  void close() {
    folder.close();
  }

  private static FaultRun run(boolean kill) {
    for (int i = FaultRun.FIRST_OF_CHECKPOINTS; ; i += FaultRun.OF_PROCESS_EVERY) {
      FaultRun run = FaultRun.of(1, i);
      if ((run.scenario() == Scenario.CHECKPOINTS_KILL_SOURCE) == kill) {
        return run;
      }
    }
  }

  /** What a session of the two sides is to be. */
  private record Session(Map<Long, String> taken, long acknowledged, Ending out, Ending in) {}

  private static Session session(long acknowledged, Ending out, String in) {
    Map<Long, String> taken = new TreeMap<>(Map.of(1L, "aa", 2L, "bb", 3L, "cc"));
    return new Session(taken, acknowledged, out, Ending.completed(false).with(in));
  }

  /** Both sides of sessions that went as they are to have gone. */
  private final class Played implements RunJudge.Sides, Side.Source, Side.Destination {
    private final Deque<Session> sessions;
    private Session session;
    private boolean dead;
    private boolean tookOver;

    Played(Session... sessions) {
      this.sessions = new ArrayDeque<>(List.of(sessions));
      this.session = sessions[0];
    }

    @Override
    public Side.Source source() {
      dead = false;
      return this;
    }

    @Override
    public Side.Destination destination() {
      return this;
    }

    @Override
    public boolean struck() {
      return true;
    }

    @Override
    public Path folder() {
      return folder.path();
    }

    @Override
    public void disturb(Side.Source source, Side.Destination destination) {}

    @Override
    public void calm(Side.Source source, Side.Destination destination) {
      dead = session.out().how() == Ending.How.DIED;
    }

    @Override
    public Ending attempt(String address, boolean faulty) {
      session = sessions.remove();
      try (CheckpointNotes.Writer notes = new CheckpointNotes.Writer(folder.path())) {
        session.taken().forEach(notes::taken);
        if (session.acknowledged() > 0) {
          notes.acknowledged(session.acknowledged());
        }
      }
      return session.out();
    }

    @Override
    public void resume() {}

    @Override
    public String listen(boolean faulty) {
      return "nowhere";
    }

    @Override
    public void stopIfNobodyCame() {}

    @Override
    public Ending await() {
      return session.in();
    }

    @Override
    public String takeOver() {
      tookOver = true;
      return "";
    }

    @Override
    public boolean isAlive() {
      return !dead;
    }

    @Override
    public String verify() {
      return "";
    }

    @Override
    public String end() {
      return "";
    }
  }

  private RunResult judge(boolean kill, Played sides) {
    return new CheckpointJudge(run(kill), sides, folder).judge();
  }

  private void finds(Kind kind, boolean kill, Session... sessions) {
    assertThat(judge(kill, new Played(sessions)).findings())
        .extracting(RunResult.Finding::kind)
        .contains(kind);
  }

  private static final Session GOOD = session(2, STOPPED, "holds checkpoint 2, bb: stopped");

  @Test
  void theNewestOneOrALaterOneIsWhatMayBeHeld() {
    assertThat(judge(false, new Played(GOOD, GOOD)).findings()).isEmpty();
    Session later = session(2, BROKEN, "holds checkpoint 3, cc: the line broke");
    assertThat(judge(false, new Played(later, GOOD)).findings()).isEmpty();
  }

  @Test
  void whoseSourceIsDeadGoesOnFromItsCheckpoint() {
    Played sides = new Played(session(2, KILLED, "holds checkpoint 2, bb: the line broke"));
    assertThat(judge(true, sides).findings()).isEmpty();
    assertThat(sides.tookOver).isTrue();
  }

  @Test
  void aSourceThatDiedBeforeTheFirstCheckpointIsReplaced() {
    Session nothing = session(0, KILLED, "the line broke");
    assertThat(judge(true, new Played(nothing, GOOD)).findings()).isEmpty();
  }

  @Test
  void anOlderCheckpointIsALoss() {
    finds(Kind.LOST, true, session(3, KILLED, "holds checkpoint 2, bb: the line broke"));
    finds(Kind.LOST, true, session(1, KILLED, "the line broke"), GOOD);
  }

  @Test
  void memoryThatIsNoCheckpointsIsWrong() {
    finds(Kind.WRONG_PAGES, true, session(1, KILLED, "holds checkpoint 2, ab: the line broke"));
    finds(Kind.WRONG_PAGES, true, session(1, KILLED, "holds checkpoint 4, dd: the line broke"));
    finds(Kind.WRONG_PAGES, false, GOOD, session(2, STOPPED, "holds checkpoint 2, aa: stopped"));
  }

  @Test
  void aGuestThatStandsStillOrRunsTwiceIsFound() {
    finds(Kind.LOST, false, session(1, Ending.failed("x", false), "holds checkpoint 1, aa"), GOOD);
    Session twice =
        new Session(
            Map.of(1L, "aa"), 1, BROKEN, Ending.completed(true).with("holds checkpoint 1, aa"));
    finds(Kind.TWO_GUESTS, false, twice, GOOD);
  }

  @Test
  void whoseSecondSessionFailsIsFound() {
    finds(Kind.OTHER, false, GOOD, session(1, BROKEN, "holds checkpoint 1, aa"));
    finds(Kind.HANG, false, session(0, Ending.hangs("no end"), "the line broke"), GOOD);
  }
}
