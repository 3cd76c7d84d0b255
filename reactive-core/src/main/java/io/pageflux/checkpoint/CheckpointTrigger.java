package io.pageflux.checkpoint;

import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * Asks for a checkpoint at once, beside those that are due: given to an {@link
 * OutgoingCheckpointSpec}, and then to whoever is to ask.
 *
 * <p>Methods may be called from any thread.
 */
public final class CheckpointTrigger {

  private final List<Runnable> sessions = new CopyOnWriteArrayList<>();

  /** Makes a trigger that no session listens to yet. */
  public CheckpointTrigger() {}

  /**
   * Asks each session for a checkpoint of the guest as it is now or later. While another one is on
   * its way, it comes after that; however often it was asked for, it comes once. While there is no
   * session, nothing happens.
   */
  public void request() {
    sessions.forEach(Runnable::run);
  }

  void add(Runnable session) {
    sessions.add(session);
  }

  void remove(Runnable session) {
    sessions.remove(session);
  }
}
