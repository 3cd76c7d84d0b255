package io.pageflux.wire;

/** What a reader accepts at the most, whatever a peer declares. Sizes are in bytes. */
public final class WireLimits {

  /** The version of the protocol that this library speaks. */
  public static final int VERSION = 1;

  /**
   * The largest body of a record that neither is a batch of pages nor lists blocks, and of one that
   * is not known.
   */
  public static final int MAX_CONTROL_BODY_BYTES = 72 << 10;

  /**
   * The largest body of a record that lists blocks: what {@link #MAX_BLOCKS} with the longest names
   * take, and a little more.
   */
  public static final int MAX_BLOCK_LIST_BODY_BYTES = 1100 << 10;

  /** The most pages whose hashes come in one record. */
  public static final int MAX_HASHES = 4096;

  /** The most RAM blocks of a layout: as many as a stream of QEMU's may have. */
  public static final int MAX_BLOCKS = 4096;

  /** The longest text of an error record or of a program's name. */
  public static final int MAX_TEXT_BYTES = 8 << 10;

  /** The largest piece of device state. */
  public static final int MAX_DEVICE_STATE_PIECE_BYTES = 32 << 10;

  /** The largest piece of a stream that passes through a relay. */
  public static final int MAX_STREAM_PIECE_BYTES = 64 << 10;

  /** The most runs of absent pages in one record. */
  public static final int MAX_DISCARDED_RUNS = 4_096;

  /** The largest page of a host that a side may have: 1 GiB. */
  public static final int MAX_HOST_PAGE_BYTES = 1 << 30;

  /** The most pages that may be asked for and not be answered. */
  public static final int MAX_PAGE_REQUESTS = 1 << 16;

  /** What this library calls itself in its first record. */
  public static final String SOFTWARE = "Pageflux 0.1";

  private WireLimits() {}
}
