package io.pageflux.dirty;

import io.pageflux.memory.GuestMemory;

public final class DirtyTrackers {
  private DirtyTrackers() {}

  public record Selection(DirtyTracker tracker, String reason) {}

  public static Selection choose(GuestMemory m, TrackingSpec s) {
    throw new IllegalStateException();
  }
}
