package io.pageflux.transport;

import java.util.zip.CRC32C;
import org.reactivestreams.Subscription;
import reactor.core.publisher.BaseSubscriber;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/** Receives bytes, adds them up, and releases them. Demands what it is told to. */
public final class Digest extends BaseSubscriber<TransportBuffer> {

  private final CRC32C crc = new CRC32C();
  private final long initialDemand;
  private final boolean oneByOne;
  private final long enoughBytes;
  private final Sinks.Empty<Void> ended = Sinks.empty();
  private final Sinks.Empty<Void> enough = Sinks.empty();
  private volatile long bytes;
  private volatile int buffers;

  private Digest(long initialDemand, boolean oneByOne, long enoughBytes) {
    this.initialDemand = initialDemand;
    this.oneByOne = oneByOne;
    this.enoughBytes = enoughBytes;
  }

  /** Demands everything at once. */
  public static Digest greedy(long enoughBytes) {
    return new Digest(Long.MAX_VALUE, false, enoughBytes);
  }

  /** Demands one buffer, and another one after each. */
  public static Digest oneByOne(long enoughBytes) {
    return new Digest(1, true, enoughBytes);
  }

  /** Demands nothing by itself. */
  public static Digest idle() {
    return new Digest(0, false, Long.MAX_VALUE);
  }

  @Override
  protected void hookOnSubscribe(Subscription subscription) {
    if (initialDemand > 0) {
      request(initialDemand);
    }
  }

  @Override
  protected void hookOnNext(TransportBuffer buffer) {
    crc.update(buffer.bytes().duplicate());
    long total = bytes + buffer.bytes().remaining();
    buffer.release();
    buffers = buffers + 1;
    bytes = total;
    if (total >= enoughBytes) {
      enough.tryEmitEmpty();
    }
    if (oneByOne) {
      request(1);
    }
  }

  @Override
  protected void hookOnComplete() {
    ended.tryEmitEmpty();
    enough.tryEmitEmpty();
  }

  @Override
  protected void hookOnError(Throwable failure) {
    ended.tryEmitError(failure);
    enough.tryEmitError(failure);
  }

  /** Ends as the received flux does. */
  public Mono<Void> ended() {
    return ended.asMono();
  }

  /** Completes when enough bytes have come, or the flux has ended. */
  public Mono<Void> enough() {
    return enough.asMono();
  }

  /** The bytes that have come. */
  public long bytes() {
    return bytes;
  }

  /** The buffers that have come. */
  public int buffers() {
    return buffers;
  }

  /** The checksum of what has come; ask when nothing comes any more. */
  public long crc() {
    return crc.getValue();
  }
}
