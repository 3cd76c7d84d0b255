package io.pageflux;

import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Why a migration, or a part of one, failed: what was wrong, where, and of which {@linkplain Kind
 * kind} it is, so that a caller can decide whether trying again can help.
 */
public final class MigrationException extends RuntimeException {

  private static final long serialVersionUID = 1L;

  /** The kind of a failure. The {@linkplain #code() code} is what travels in an error record. */
  public enum Kind {
    /** The peer broke the wire protocol, or does not speak it. */
    PROTOCOL(1),
    /** Bytes arrived damaged: a checksum or a codec refused them. */
    INTEGRITY(2),
    /** The two sides do not have the same RAM blocks. */
    LAYOUT(3),
    /** The connection could not be made or was lost. */
    TRANSPORT(4),
    /** The peer said nothing for too long, or the migration took longer than allowed. */
    TIMEOUT(5),
    /** Somebody asked for the migration to stop. */
    CANCELLED(6),
    /** Writes to the memory cannot be tracked. */
    TRACKING(7),
    /** The policy gave up on a guest that writes faster than it can be sent. */
    NOT_CONVERGED(8),
    /** The guest refused to pause, resume, or give or take its state. */
    GUEST(9),
    /** A fault of this program. */
    INTERNAL(10);

    private final int code;

    Kind(int code) {
      this.code = code;
    }

    /** The number that stands for this kind on the wire. */
    public int code() {
      return code;
    }

    /** The kind with a number, or {@link #INTERNAL} for a number this version does not know. */
    public static Kind ofCode(int code) {
      for (Kind kind : values()) {
        if (kind.code == code) {
          return kind;
        }
      }
      return INTERNAL;
    }
  }

  private final Kind kind;
  private final boolean fromPeer;

  private MigrationException(
      Kind kind, boolean fromPeer, String message, @Nullable Throwable cause) {
    super(message, cause);
    this.kind = Objects.requireNonNull(kind, "kind");
    this.fromPeer = fromPeer;
  }

  /** A failure that this side found. */
  public static MigrationException of(Kind kind, String message) {
    return new MigrationException(kind, false, message, null);
  }

  /** A failure that this side found, and what caused it. */
  public static MigrationException of(Kind kind, String message, Throwable cause) {
    return new MigrationException(kind, false, message, cause);
  }

  /** A failure that the other side found and reported. */
  public static MigrationException reportedByPeer(Kind kind, String message) {
    return new MigrationException(kind, true, "the peer reports: " + message, null);
  }

  /** Any failure as a migration's failure: whatever else is thrown is a fault of a part of it. */
  public static MigrationException ofAny(Throwable e) {
    return e instanceof MigrationException known
        ? known
        : of(Kind.INTERNAL, e.getMessage() == null ? e.toString() : e.getMessage(), e);
  }

  /** {@return the kind of this failure} */
  public Kind kind() {
    return kind;
  }

  /** {@return whether the other side found this failure and reported it} */
  public boolean isFromPeer() {
    return fromPeer;
  }
}
