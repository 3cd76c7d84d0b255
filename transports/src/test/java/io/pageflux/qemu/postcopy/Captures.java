package io.pageflux.qemu.postcopy;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;

import io.pageflux.qemu.capture.CaptureInfo;
import io.pageflux.qemu.capture.CaptureSpec;
import io.pageflux.qemu.capture.QemuCapture;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.transport.tcp.TcpAcceptor;
import io.pageflux.transport.tcp.TcpSpec;
import io.pageflux.transport.tcp.TcpTransport;
import java.nio.file.Path;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/** Captures of real guests. */
final class Captures {

  private Captures() {}

  /** Captures a running guest; it stands still at its source afterwards. */
  static CaptureInfo capture(QemuProcess source, Path directory) {
    return capture(directory, uri -> source.commands().migrate(uri).block(PATIENCE));
  }

  /**
   * Captures a guest.
   *
   * @param migrate has it migrate to an address
   */
  static CaptureInfo capture(Path directory, Consumer<String> migrate) {
    TcpAcceptor acceptor =
        Objects.requireNonNull(TcpTransport.listen(TcpSpec.loopback(0)).block(PATIENCE));
    try {
      CompletableFuture<CaptureInfo> complete = new CompletableFuture<>();
      QemuCapture.of(CaptureSpec.of(directory), acceptor)
          .last()
          .subscribe(complete::complete, complete::completeExceptionally);
      migrate.accept("tcp:127.0.0.1:" + acceptor.port());
      return complete.orTimeout(PATIENCE.toSeconds(), TimeUnit.SECONDS).join();
    } finally {
      acceptor.dispose();
    }
  }
}
