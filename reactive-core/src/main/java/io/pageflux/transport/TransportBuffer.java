package io.pageflux.transport;

import java.nio.ByteBuffer;
import java.util.concurrent.atomic.AtomicReference;

/**
 * Some bytes on their way to or from the peer, and what is to happen when nobody needs them any
 * more.
 *
 * <p><b>Ownership:</b> whoever received it last by {@code onNext} {@linkplain #release() releases}
 * it. Releasing twice does nothing. The bytes must not be touched afterwards: they may lie in a
 * slab or in a network buffer that somebody else fills by then.
 */
public final class TransportBuffer {

  private static final Runnable RELEASED = () -> {};

  private final ByteBuffer bytes;
  private final AtomicReference<Runnable> onRelease;

  /**
   * Makes a buffer.
   *
   * @param bytes what lies between its position and its limit, direct or not
   * @param onRelease called once, by the thread that releases the buffer
   */
  public TransportBuffer(ByteBuffer bytes, Runnable onRelease) {
    this.bytes = bytes;
    this.onRelease = new AtomicReference<>(onRelease);
  }

  /** Makes a buffer of bytes that need no release. */
  public static TransportBuffer of(ByteBuffer bytes) {
    return new TransportBuffer(bytes, RELEASED);
  }

  /** {@return the bytes: those between position and limit; reading them moves the position} */
  public ByteBuffer bytes() {
    return bytes;
  }

  /** Says that nobody needs the bytes any more. May be called from any thread, and again. */
  public void release() {
    onRelease.getAndSet(RELEASED).run();
  }

  @Override
  public String toString() {
    return "TransportBuffer[" + bytes.remaining() + " bytes]";
  }
}
