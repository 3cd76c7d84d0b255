package io.pageflux.migration;

import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/** The conversation that a migration has, of its subscriptions the one that connected last. */
final class RunningOutgoing {

  private final AtomicReference<@Nullable OutgoingConversation> current = new AtomicReference<>();

  void begin(OutgoingConversation conversation) {
    current.set(conversation);
  }

  void end(OutgoingConversation conversation) {
    current.compareAndSet(conversation, null);
  }

  OutgoingConversation current() {
    OutgoingConversation running = current.get();
    if (running == null) {
      throw notRunning();
    }
    return running;
  }

  /** Why a migration is not continued that has a status. */
  static IllegalStateException notWaiting(MigrationStatus status) {
    return new IllegalStateException(
        "the migration does not wait to be continued: it does in the state %s, and is in the state %s"
            .formatted(MigrationStatus.PRE_SWITCHOVER.qemuName(), status.qemuName()));
  }

  static IllegalStateException notRunning() {
    return new IllegalStateException("no migration is under way");
  }
}
