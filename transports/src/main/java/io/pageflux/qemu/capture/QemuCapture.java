package io.pageflux.qemu.capture;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.transport.Acceptor;
import java.io.IOException;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * Captures a guest into files; see the package.
 *
 * <p>A cold flux: each subscriber waits for one QEMU.
 *
 * <p><b>Demand:</b> the capture does not wait for the subscriber. Progress is left out while nobody
 * asks for it; the last element, which is {@linkplain CaptureInfo#complete() complete}, is not.
 * From QEMU no more is read than the disk takes.
 *
 * <p><b>Ordering and threading:</b> in order, on a thread of the capture's own, {@code
 * pageflux-capture}, which writes the files and ends with the capture.
 *
 * <p><b>Memory bound:</b> see {@link CaptureSpec}.
 *
 * <p><b>Discard and cancel:</b> cancelling ends the capture in failure, soon but not at once: what
 * the disk is doing is waited for. With the return path on, the source's QEMU goes on with its
 * guest. Once the stream is whole the capture is completed.
 *
 * <p><b>Errors:</b> {@code IllegalArgumentException} if the directory is none or is not empty. Else
 * a {@link MigrationException}: of kind {@code PROTOCOL} or {@code INTEGRITY} if the stream is
 * wrong or not supported (multifd, post-copy, {@code x-ignore-shared}), {@code LAYOUT} if the guest
 * is too large for the limit or the disk, {@code TRANSPORT} if the connection ended early, {@code
 * TIMEOUT} if QEMU said nothing, {@code CANCELLED} if it was stopped, {@code INTERNAL} if the files
 * cannot be written. QEMU is told, and the connection is closed; what has come stays in files
 * called {@code *.partial}, and the message says so.
 */
public final class QemuCapture {

  private QemuCapture() {}

  /**
   * {@return the capture of the next QEMU that connects}
   *
   * @param spec what to capture into
   * @param acceptor where QEMU connects to: {@code migrate tcp:HOST:PORT}. Not disposed
   */
  public static Flux<CaptureInfo> of(CaptureSpec spec, Acceptor acceptor) {
    return of(spec, acceptor, Mono.never());
  }

  /**
   * {@return the capture of the next QEMU that connects}
   *
   * @param spec what to capture into
   * @param acceptor where QEMU connects to: {@code migrate tcp:HOST:PORT}. Not disposed
   * @param stop when it completes, the capture fails with {@code CANCELLED}; other than with a
   *     cancel, the subscriber hears of the end
   */
  public static Flux<CaptureInfo> of(CaptureSpec spec, Acceptor acceptor, Mono<Void> stop) {
    return Flux.create(
        sink -> {
          CaptureSession session = new CaptureSession(spec, acceptor, sink);
          Disposable stopping =
              stop.subscribe(v -> {}, session::stop, () -> session.stop(stopped()));
          sink.onDispose(
              () -> {
                stopping.dispose();
                session.stop(stopped());
              });
          session.start();
        });
  }

  /**
   * Makes the directory if it is missing, and refuses one that cannot be captured into. A capture
   * does so itself; this is for who wants to know before anything else happens.
   *
   * @throws IllegalArgumentException if it is none or is not empty
   * @throws IOException if it cannot be made or read
   */
  public static void prepare(CaptureSpec spec) throws IOException {
    CaptureFiles.prepare(spec.directory());
  }

  private static MigrationException stopped() {
    return MigrationException.of(Kind.CANCELLED, "the capture was stopped");
  }
}
