package io.pageflux.page;

import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;

/**
 * The right to use one slab of a {@link SlabPool} until it is released.
 *
 * <p>Releasing twice does nothing, so that a discard hook and an operator may both do it. After the
 * release the slab belongs to somebody else: keep no segment or buffer of it.
 */
public final class Lease {

  private static final VarHandle RELEASED;

  static {
    try {
      RELEASED = MethodHandles.lookup().findVarHandle(Lease.class, "released", boolean.class);
    } catch (ReflectiveOperationException e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  private final SlabPool pool;
  private final SlabPool.Slab slab;

  @SuppressWarnings("unused") // by RELEASED
  private volatile boolean released;

  Lease(SlabPool pool, SlabPool.Slab slab) {
    this.pool = pool;
    this.slab = slab;
  }

  /** {@return the whole slab} */
  public MemorySegment segment() {
    return slab.segment();
  }

  /**
   * {@return the whole slab as a direct buffer, big-endian} It is shared by all who ask: use
   * absolute methods, or duplicate it.
   */
  public ByteBuffer buffer() {
    return slab.buffer();
  }

  /** {@return whether the slab has been given back} */
  public boolean isReleased() {
    return released;
  }

  /** Gives the slab back. May be called from any thread, and again. */
  public void release() {
    if (RELEASED.compareAndSet(this, false, true)) {
      pool.giveBack(this, slab);
    }
  }
}
