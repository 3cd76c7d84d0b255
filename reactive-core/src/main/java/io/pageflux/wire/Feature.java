package io.pageflux.wire;

import java.util.StringJoiner;

/** What a side of a migration can do, as bits of {@link WireRecord.Hello#features()}. */
public enum Feature {
  /** Delta pages: XBZRLE as in QEMU. */
  XBZRLE(0),
  /** Batches whose contents are one zstd frame. */
  ZSTD(1),
  /**
   * A relay: the stream of another protocol passes through, with only its pages taken out of it.
   */
  RELAY(2),
  /** The destination offers memory that the source may write to: pages of kind PLACED. */
  SHARED_MEMORY(3),
  /** Continuous checkpoints: after the device state there may come another round. */
  CHECKPOINTS(4),
  /** A migration whose connection is lost goes on with another one: RESUME_POINT. */
  RESUME(5),
  /** The destination has an older copy, and says what is in it: PAGE_HASHES. */
  REUSE(6),
  /**
   * Post-copy: the guest may be started before all pages are there, and asks for those it needs.
   */
  POSTCOPY(8),
  /** Post-copy whose connection is lost goes on with another one: GUEST_RUNS. */
  POSTCOPY_RESUME(9);

  private final int bit;

  Feature(int bit) {
    this.bit = bit;
  }

  /** {@return the bit that stands for this feature} */
  public long mask() {
    return 1L << bit;
  }

  /** {@return whether a set of features has this one} */
  public boolean in(long features) {
    return (features & mask()) != 0;
  }

  /** {@return the bits of all features that this version has} */
  public static long all() {
    long all = 0;
    for (Feature feature : values()) {
      all |= feature.mask();
    }
    return all;
  }

  /** {@return the bits of the features that a migration of a {@code GuestMemory} may use} */
  public static long migration() {
    return XBZRLE.mask() | ZSTD.mask();
  }

  /**
   * {@return a set of features for people: "XBZRLE, ZSTD", "bit 17" for one that this version does
   * not know, "none" for the empty set}
   */
  public static String names(long features) {
    StringJoiner names = new StringJoiner(", ");
    names.setEmptyValue("none");
    for (Feature feature : values()) {
      if (feature.in(features)) {
        names.add(feature.name());
      }
    }
    long unknown = features & ~all();
    for (int i = 0; i < Long.SIZE; i++) {
      if ((unknown & 1L << i) != 0) {
        names.add("bit " + i);
      }
    }
    return names.toString();
  }
}
