package io.pageflux.migration;

import io.pageflux.transport.TransportBuffer;
import java.nio.ByteBuffer;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/**
 * What happens to the bytes of one direction of a connection.
 *
 * @param kind what
 * @param at after how many bytes, or buffers, or to which byte, or before which type of record
 */
public record Fault(Kind kind, long at) {

  /** What can happen. */
  public enum Kind {
    /** Nothing. */
    NONE,
    /** The connection breaks when so many bytes have passed; others may be lost with it. */
    CUT,
    /** The connection breaks when so many buffers have passed. */
    CUT_BUFFERS,
    /** Exactly so many bytes arrive, and then the end of the stream. */
    END,
    /** One bit of the byte is changed: number {@code at % 8}. */
    FLIP,
    /** So many bytes arrive, and nothing more, for ever; nor is anything more asked for. */
    STALL,
    /** What comes before the first record of a type arrives, and nothing more, for ever. */
    STALL_RECORD
  }

  /** No fault. */
  public static final Fault NONE = new Fault(Kind.NONE, 0);

  /** The connection breaks when so many bytes have passed. */
  public static Fault cutAfter(long bytes) {
    return new Fault(Kind.CUT, bytes);
  }

  /** The connection breaks when so many buffers have passed. */
  public static Fault cutAfterBuffers(long buffers) {
    return new Fault(Kind.CUT_BUFFERS, buffers);
  }

  /** Exactly so many bytes arrive, and then the end of the stream. */
  public static Fault endAfter(long bytes) {
    return new Fault(Kind.END, bytes);
  }

  /** One bit of a byte is changed. */
  public static Fault flip(long at) {
    return new Fault(Kind.FLIP, at);
  }

  /** So many bytes arrive and nothing more, without an end. */
  public static Fault stallAfter(long bytes) {
    return new Fault(Kind.STALL, bytes);
  }

  /**
   * What comes before the first record of a type arrives and nothing more, without an end. Unlike a
   * place in bytes, it comes in every migration, however much the guest writes.
   */
  public static Fault stallBefore(int recordType) {
    return new Fault(Kind.STALL_RECORD, recordType);
  }

  /** One stream that the fault befalls. */
  Stream stream(Tape tape, Runnable breakConnection) {
    return new Stream(tape, breakConnection);
  }

  /** One stream that the fault befalls. */
  final class Stream {

    private final Tape tape;
    private final Runnable breakConnection;
    private final Sinks.Empty<Void> over = Sinks.empty();
    private long passed;
    private long buffers;
    private volatile boolean ended;

    private Stream(Tape tape, Runnable breakConnection) {
      this.tape = tape;
      this.breakConnection = breakConnection;
    }

    /** Whether the stream was made to end early. */
    boolean hasEnded() {
      return ended;
    }

    Flux<TransportBuffer> through(Flux<TransportBuffer> source) {
      return Flux.defer(
              () -> {
                if (at == 0) {
                  strike();
                }
                return source.concatMap(this::pass, 0).takeUntilOther(over.asMono());
              })
          .doOnDiscard(TransportBuffer.class, TransportBuffer::release);
    }

    private Mono<TransportBuffer> pass(TransportBuffer buffer) {
      long left = at - passed;
      int bytes = buffer.bytes().remaining();
      boolean limited = kind == Kind.END || kind == Kind.STALL;
      if (kind == Kind.STALL && left == 0 || kind == Kind.STALL_RECORD && isRecord(buffer)) {
        return Mono.<TransportBuffer>never().doFinally(signal -> buffer.release());
      }
      TransportBuffer on = buffer;
      if (limited && bytes > left) {
        ByteBuffer part = buffer.bytes().slice(buffer.bytes().position(), (int) left);
        on = new TransportBuffer(part, buffer::release);
      } else if (kind == Kind.FLIP && left >= 0 && left < bytes) {
        on = flipped(buffer, (int) left);
      }
      passed += on.bytes().remaining();
      buffers++;
      Mono<TransportBuffer> passing = Mono.just(tape.record(on));
      boolean strikes = kind == Kind.CUT_BUFFERS ? buffers == at : left > 0 && passed >= at;
      return strikes ? passing.doAfterTerminate(this::strike) : passing;
    }

    /** Whether a record of the type begins with the buffer, and is not the first of all. */
    private boolean isRecord(TransportBuffer buffer) {
      ByteBuffer bytes = buffer.bytes();
      if (passed == 0 || bytes.get(bytes.position()) != at) {
        return false;
      }
      return WireBytes.records(tape.bytes()).getLast().to() == passed;
    }

    private TransportBuffer flipped(TransportBuffer buffer, int index) {
      ByteBuffer copy = ByteBuffer.allocate(buffer.bytes().remaining());
      copy.put(buffer.bytes().duplicate()).flip();
      copy.put(index, (byte) (copy.get(index) ^ 1 << at % 8));
      buffer.release();
      return TransportBuffer.of(copy);
    }

    private void strike() {
      switch (kind) {
        case CUT, CUT_BUFFERS -> breakConnection.run();
        case END -> {
          ended = true;
          over.tryEmitEmpty();
        }
        case NONE, FLIP, STALL, STALL_RECORD -> {}
      }
    }
  }
}
