package io.pageflux.page;

import java.lang.foreign.MemorySegment;

/**
 * A walk over the pages of a batch that may change each of them in place.
 *
 * <p>After {@link #next()} the rewriter stands on a page, which stays as it is unless one of {@link
 * #toZero()}, {@link #toPlaced()}, {@link #toDelta} and {@link #drop()} is called. Contents move
 * towards the start of the slab as pages shrink, so they stay contiguous; nothing moves while
 * nothing shrinks. The batch is in order again when {@code next()} has returned false, and not
 * before.
 *
 * <pre>{@code
 * for (PageRewriter r = batch.rewrite(); r.next(); ) {
 *   if (r.kind() == PageKind.RAW && ZeroTest.isZero(r.slab(), r.offset(), r.length())) {
 *     r.toZero();
 *   }
 * }
 * }</pre>
 */
public final class PageRewriter {

  private final PageBatch batch;
  private final MemorySegment slab;

  private int in = -1;
  private long inOffset;
  private int inLength;

  private int out;
  private long outOffset;

  private PageKind kind = PageKind.ZERO;
  private int length;
  private boolean dropped = true;
  private boolean ended;

  PageRewriter(PageBatch batch) {
    this.batch = batch;
    this.slab = batch.slab();
    this.inOffset = batch.payloadOffset();
    this.outOffset = batch.payloadOffset();
  }

  /** Goes on to the next page. {@return false if there is none; then the batch is in order} */
  public boolean next() {
    if (ended) {
      return false;
    }
    settle();
    inOffset += inLength;
    if (++in == batch.size()) {
      ended = true;
      batch.truncate(out, (int) (outOffset - batch.payloadOffset()));
      return false;
    }
    kind = batch.kind(in);
    inLength = batch.length(in);
    length = inLength;
    dropped = false;
    return true;
  }

  private void settle() {
    if (dropped) {
      return;
    }
    if (length > 0 && inOffset != outOffset) {
      MemorySegment.copy(slab, inOffset, slab, outOffset, length);
    }
    batch.set(out, batch.page(in), kind, length);
    out++;
    outOffset += length;
  }

  /** {@return the page's index in its block} */
  public long page() {
    return batch.page(in);
  }

  /** {@return what the batch holds of the page} */
  public PageKind kind() {
    return kind;
  }

  /** {@return the slab in which the page's contents are} */
  public MemorySegment slab() {
    return slab;
  }

  /** {@return where in the slab they begin} */
  public long offset() {
    return inOffset;
  }

  /** {@return how many bytes they have} */
  public int length() {
    return inLength;
  }

  /** Makes the page a zero page. */
  public void toZero() {
    kind = PageKind.ZERO;
    length = 0;
  }

  /** Makes the page one whose contents have gone, or will go, another way. */
  public void toPlaced() {
    kind = PageKind.PLACED;
    length = 0;
  }

  /**
   * Makes the page a delta.
   *
   * @param delta holds the encoded page from its start; it is copied
   * @param bytes its length, less than the page's
   */
  public void toDelta(MemorySegment delta, int bytes) {
    if (bytes <= 0 || bytes >= inLength) {
      throw new IllegalArgumentException(
          "a delta of " + bytes + " bytes in place of " + inLength + " bytes");
    }
    MemorySegment.copy(delta, 0, slab, inOffset, bytes);
    kind = PageKind.DELTA;
    length = bytes;
  }

  /** Removes the page from the batch. */
  public void drop() {
    dropped = true;
  }
}
