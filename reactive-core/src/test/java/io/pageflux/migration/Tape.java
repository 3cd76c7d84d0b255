package io.pageflux.migration;

import io.pageflux.transport.TransportBuffer;
import java.io.ByteArrayOutputStream;

/** What passed in one direction, and how much of it is still held by somebody. */
public final class Tape {

  private ByteArrayOutputStream bytes = new ByteArrayOutputStream();
  private int outstanding;
  private int mostOutstanding;

  TransportBuffer record(TransportBuffer buffer) {
    byte[] copy = new byte[buffer.bytes().remaining()];
    buffer.bytes().duplicate().get(copy);
    synchronized (this) {
      bytes.writeBytes(copy);
      mostOutstanding = Math.max(mostOutstanding, ++outstanding);
    }
    return new TransportBuffer(
        buffer.bytes(),
        () -> {
          synchronized (this) {
            outstanding--;
          }
          buffer.release();
        });
  }

  /** All bytes that passed. */
  public synchronized byte[] bytes() {
    return bytes.toByteArray();
  }

  /** Forgets the bytes that passed. */
  synchronized void forget() {
    bytes = new ByteArrayOutputStream();
  }

  /** How many buffers passed that were not released. */
  public synchronized int outstanding() {
    return outstanding;
  }

  /** How many that were at the most. */
  public synchronized int mostOutstanding() {
    return mostOutstanding;
  }
}
