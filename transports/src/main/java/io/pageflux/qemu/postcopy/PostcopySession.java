package io.pageflux.qemu.postcopy;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.page.SlabPool;
import io.pageflux.qemu.stream.QemuReturnReader;
import io.pageflux.transport.Connector;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.FluxSink;

/**
 * One lazy resume, from the first connection to the destination's last word, on a thread of its
 * own.
 *
 * <p><b>Whose guest it is:</b> the destination's, from the first byte of the package with the
 * devices' state on, for nobody can tell whether it got all of it. Before that, a failure means
 * that nothing runs anywhere.
 */
final class PostcopySession {

  private final PostcopySpec spec;
  private final Connector connector;
  private final FluxSink<PostcopyInfo> sink;
  private final Bell bell = new Bell();
  private final PostcopyProgress progress = new PostcopyProgress();

  PostcopySession(PostcopySpec spec, Connector connector, FluxSink<PostcopyInfo> sink) {
    this.spec = spec;
    this.connector = connector;
    this.sink = sink;
  }

  /** Ends it; nothing happens if it has ended. For any thread. */
  void stop(Throwable reason) {
    bell.stop(reason);
  }

  /** Begins, on a thread that ends with the session. */
  void start() {
    Thread.ofPlatform().daemon().name("pageflux-postcopy").start(this::run);
  }

  private void run() {
    try {
      resume();
      sink.next(progress.info());
      sink.complete();
    } catch (Throwable e) { // whatever it is, nobody else would hear of it
      if (!sink.isCancelled()) {
        sink.error(e instanceof IllegalArgumentException argument ? argument : known(e));
      }
    }
  }

  private static MigrationException known(Throwable e) {
    return switch (e) {
      case UncheckedIOException io when io.getCause() != null -> known(io.getCause());
      case IOException io ->
          MigrationException.of(Kind.INTERNAL, "the capture cannot be read: " + io, io);
      case InterruptedException interrupted ->
          MigrationException.of(Kind.CANCELLED, "the resuming was interrupted", interrupted);
      default -> MigrationException.ofAny(e);
    };
  }

  private void resume() throws IOException, InterruptedException {
    try (CapturedGuest guest = CapturedGuest.open(spec.directory())) {
      HostPages hostPages = new HostPages(guest.ram(), guest.layout(), spec.hostPageBytes());
      PageSender pages = new PageSender(guest, progress.serviceTimes());
      progress.begin(guest.layout(), pages);
      LazyResume script = new LazyResume(spec, guest, hostPages, pages, progress, this::report);
      try {
        resume(guest, hostPages, script);
      } catch (Throwable e) {
        throw withWhereabouts(known(e));
      }
    }
  }

  private void resume(CapturedGuest guest, HostPages hostPages, LazyResume script)
      throws IOException, InterruptedException {
    DestinationLine line = null;
    MigrationException lost = null;
    if (!spec.recovering()) {
      line = connect(guest, hostPages);
    }
    while (true) {
      if (line == null) {
        line = recovered(guest, hostPages, script, lost);
      }
      try (DestinationLine current = line) {
        if (!progress.atDestination()) {
          script.start(current);
        }
        script.serve(current);
        script.finish(current);
        return;
      } catch (MigrationException e) {
        // Before it is known to have its devices, the guest is more likely not there at all.
        if (!progress.isRunning() || e.kind() != Kind.TRANSPORT || !line.isLost()) {
          throw e;
        }
        lost = e;
        line = null;
      }
    }
  }

  private DestinationLine connect(CapturedGuest guest, HostPages hostPages)
      throws InterruptedException {
    var connection = Connecting.connect(connector, bell);
    int pageSize = guest.layout().largestPageSizeBytes();
    DestinationLine line =
        new DestinationLine(
            connection,
            bell,
            new PagesLeft(guest.layout(), hostPages.byBlock()),
            new QemuReturnReader(guest.layout()),
            new SlabPool(DestinationLine.MAX_BUFFERS, PageSender.geometry(pageSize)));
    progress.connected(line);
    line.open();
    return line;
  }

  /** Connects again, as often as the spec has it, until the destination goes on. */
  private DestinationLine recovered(
      CapturedGuest guest,
      HostPages hostPages,
      LazyResume script,
      @Nullable MigrationException lost)
      throws InterruptedException {
    progress.status(PostcopyStatus.PAUSED);
    report(true);
    MigrationException failure = lost;
    try (RetryPacer pacer = new RetryPacer(spec.recovery(), bell)) {
      while (true) {
        if (failure != null && !pacer.awaitNext(failure)) {
          throw MigrationException.of(
              failure.kind(), "the guest could not be recovered: " + failure.getMessage(), failure);
        }
        DestinationLine line = null;
        boolean recovered = false;
        try {
          line = connect(guest, hostPages);
          script.recover(line);
          recovered = true;
          return line;
        } catch (MigrationException e) {
          if (e.kind() != Kind.TRANSPORT && e.kind() != Kind.TIMEOUT) {
            throw e;
          }
          failure = e;
          progress.status(PostcopyStatus.PAUSED);
        } finally {
          if (!recovered && line != null) {
            line.close();
          }
        }
      }
    }
  }

  /** Says whose the guest is. */
  private MigrationException withWhereabouts(MigrationException e) {
    String where =
        progress.isRunning()
            ? "the guest is at the destination, which keeps it: after migrate-recover there, begin"
                + " with its recovery. Do not start it from the capture again"
            : progress.atDestination()
                ? "the guest may be at the destination: if query-migrate says postcopy-paused"
                    + " there, say migrate-recover, and begin with its recovery; if not, it runs"
                    + " nowhere and may be resumed again"
                : "the guest runs nowhere, and may be resumed again. QEMU's own messages may say"
                    + " why; it needs the machine of the capture, and the capability postcopy-ram";
    return MigrationException.of(e.kind(), e.getMessage() + "; " + where, e);
  }

  private void report(boolean now) {
    if (progress.isReportDue(now ? Duration.ZERO : spec.progressInterval())
        && sink.requestedFromDownstream() > 0) {
      sink.next(progress.info());
    }
  }
}
