package io.pageflux.qemu.postcopy;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.transport.Connector;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * Resumes a captured guest lazily; see the package.
 *
 * <p>A cold flux: each subscriber resumes the guest anew, so it is for one, unless the guest was
 * not brought to a destination.
 *
 * <p><b>Demand:</b> the guest does not wait for the subscriber. Progress is left out while nobody
 * asks for it; the last element, which is {@linkplain PostcopyInfo#complete() complete}, is not.
 *
 * <p><b>Ordering and threading:</b> in order, on a thread of the session's own, {@code
 * pageflux-postcopy}, which reads the files and ends with the session.
 *
 * <p><b>Memory bound:</b> see {@link PostcopySpec}.
 *
 * <p><b>Discard and cancel:</b> cancelling closes the connection. A guest that is at the
 * destination by then stands still there, in the state {@code postcopy-paused}, and can be
 * {@linkplain PostcopySpec#withRecovering recovered}.
 *
 * <p><b>Errors:</b> {@code IllegalArgumentException} if there is no capture in the directory, or
 * the host pages do not fit its blocks. Else a {@link MigrationException}, whose message says where
 * the guest is: of kind {@code INTEGRITY} if the capture is damaged, {@code PROTOCOL} if the
 * destination says what it cannot mean (requests for pages outside of the RAM, or without end),
 * {@code GUEST} if it says that it has failed, {@code TRANSPORT} if the connection was lost before
 * the guest ran, or could not be made again, {@code TIMEOUT} if it does not answer, {@code
 * CANCELLED} if it was stopped, {@code INTERNAL} if the files cannot be read.
 */
public final class QemuPostcopy {

  private QemuPostcopy() {}

  /**
   * {@return the resuming of a guest, in the QEMU that is connected to}
   *
   * @param spec which guest
   * @param connector connects to where QEMU waits, as its {@code -incoming} has it, and later as
   *     {@code migrate-recover} has it. Keep its socket's send buffer small: what is in it cannot
   *     be overtaken by a request
   */
  public static Flux<PostcopyInfo> resume(PostcopySpec spec, Connector connector) {
    return resume(spec, connector, Mono.never());
  }

  /**
   * {@return the resuming of a guest, in the QEMU that is connected to}
   *
   * @param spec which guest
   * @param connector connects to where QEMU waits
   * @param stop when it completes, the resuming fails with {@code CANCELLED}; other than with a
   *     cancel, the subscriber hears of the end
   */
  public static Flux<PostcopyInfo> resume(PostcopySpec spec, Connector connector, Mono<Void> stop) {
    return Flux.create(
        sink -> {
          PostcopySession session = new PostcopySession(spec, connector, sink);
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

  private static MigrationException stopped() {
    return MigrationException.of(Kind.CANCELLED, "the resuming was stopped");
  }
}
