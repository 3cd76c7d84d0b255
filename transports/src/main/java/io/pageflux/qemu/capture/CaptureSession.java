package io.pageflux.qemu.capture;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.qemu.stream.QemuReturnWriter;
import io.pageflux.qemu.stream.QemuStreamSummary;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.transport.TransportBuffer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileSystemException;
import java.time.Duration;
import java.util.Optional;
import reactor.core.publisher.FluxSink;

/**
 * One capture, from the wait for QEMU to its end, on a thread of its own.
 *
 * <p><b>The end's order:</b> the stream is whole; everything is on the disk; the files have their
 * names; QEMU hears of it. In failure QEMU hears of it first, for its guest stands still.
 */
final class CaptureSession {

  /** How long QEMU may take to read the last word, and then to close the connection. */
  private static final Duration CLOSING = Duration.ofSeconds(2);

  private final CaptureSpec spec;
  private final Acceptor acceptor;
  private final FluxSink<CaptureInfo> sink;
  private final Inbox inbox = new Inbox();
  private long beganNanos;
  private long reportedNanos;

  CaptureSession(CaptureSpec spec, Acceptor acceptor, FluxSink<CaptureInfo> sink) {
    this.spec = spec;
    this.acceptor = acceptor;
    this.sink = sink;
  }

  /** Ends it; nothing happens if it has ended, or the stream is whole. For any thread. */
  void stop(Throwable reason) {
    inbox.fail(reason);
  }

  /** Begins, on a thread of its own that ends with the capture. */
  void start() {
    Thread.ofPlatform().daemon().name("pageflux-capture").start(this::run);
  }

  private void run() {
    try {
      CaptureInfo complete = capture();
      sink.next(complete);
      sink.complete();
    } catch (Throwable e) { // whatever it is, nobody else would hear of it
      if (!sink.isCancelled()) {
        sink.error(failure(e));
      }
    }
  }

  private static RuntimeException failure(Throwable e) {
    return e instanceof IllegalArgumentException argument ? argument : known(e);
  }

  private static MigrationException known(Throwable e) {
    return switch (e) {
      case UncheckedIOException io when io.getCause() != null -> known(io.getCause());
      case IOException io ->
          MigrationException.of(Kind.INTERNAL, "the files cannot be written: " + reason(io), io);
      case InterruptedException interrupted ->
          MigrationException.of(Kind.CANCELLED, "the capture was interrupted", interrupted);
      // What the JVM makes of a fault in a mapping.
      case InternalError fault ->
          MigrationException.of(
              Kind.INTERNAL,
              "an image cannot be written, the disk is full or fails: " + fault.getMessage(),
              fault);
      default -> MigrationException.ofAny(e);
    };
  }

  private static String reason(IOException e) {
    // Without a reason, the message is the file's name and the type is what happened.
    boolean told = !(e instanceof FileSystemException file) || file.getReason() != null;
    return told && e.getMessage() != null ? e.getMessage() : e.toString();
  }

  private CaptureInfo capture() throws IOException, InterruptedException {
    try (inbox) {
      CaptureFiles.prepare(spec.directory());
      Connection qemu = inbox.accept(acceptor);
      beganNanos = System.nanoTime();
      reportedNanos = beganNanos;
      ReturnPath back = new ReturnPath(qemu);
      try (CaptureFiles files = CaptureFiles.begin(spec.directory());
          StreamIntake intake = new StreamIntake(spec, files, back)) {
        return capture(intake, files, back);
      }
    }
  }

  private CaptureInfo capture(StreamIntake intake, CaptureFiles files, ReturnPath back)
      throws IOException, InterruptedException {
    CaptureInfo complete;
    try {
      receive(intake, back);
      complete = info(intake, back, Optional.of(intake.summary()));
      files.commit(CaptureJson.of(complete));
    } catch (Throwable e) {
      back.shut(QemuReturnWriter.FAILURE, CLOSING);
      inbox.close();
      throw withFiles(known(e));
    }
    back.shut(QemuReturnWriter.SUCCESS, CLOSING);
    awaitClose();
    return complete;
  }

  private MigrationException withFiles(MigrationException e) {
    return MigrationException.of(
        e.kind(),
        "%s; what has come until then is in %s, in files called *%s"
            .formatted(e.getMessage(), spec.directory(), CaptureFiles.PARTIAL),
        e);
  }

  /** Takes bytes until the stream is whole. */
  private void receive(StreamIntake intake, ReturnPath back)
      throws IOException, InterruptedException {
    long lastNanos = System.nanoTime();
    while (true) {
      long quietNanos = System.nanoTime() - lastNanos;
      long mayBeQuietNanos = mayBeQuietNanos(intake, back);
      TransportBuffer buffer =
          inbox.next(Math.min(mayBeQuietNanos - quietNanos, spec.progressInterval().toNanos()));
      if (buffer != null) {
        try {
          intake.take(buffer.bytes());
        } finally {
          buffer.release();
        }
        lastNanos = System.nanoTime();
      } else if (inbox.isEnded()) {
        intake.end();
        return;
      } else if (System.nanoTime() - lastNanos >= mayBeQuietNanos) {
        if (!intake.isWhole()) {
          throw silent(intake);
        }
        intake.end();
        return;
      }
      report(intake, back);
    }
  }

  /** For how long no bytes may come before something has ended, one way or the other. */
  private long mayBeQuietNanos(StreamIntake intake, ReturnPath back) {
    if (intake.isWhole() && back.isOpen()) {
      return spec.settleTime().toNanos();
    }
    return intake.isInTail() || intake.bytes() == 0
        ? spec.silenceTimeout().toNanos()
        : Long.MAX_VALUE;
  }

  private MigrationException silent(StreamIntake intake) {
    return MigrationException.of(
        Kind.TIMEOUT,
        "QEMU has said nothing for %d s ".formatted(spec.silenceTimeout().toSeconds())
            + (intake.isInTail()
                ? "in the middle of its devices' state; if the machine has suppress-vmdesc=on,"
                    + " switch off the capability return-path, so that it closes the connection"
                : "since it connected"));
  }

  private void report(StreamIntake intake, ReturnPath back) {
    long now = System.nanoTime();
    if (now - reportedNanos >= spec.progressInterval().toNanos()) {
      reportedNanos = now;
      if (sink.requestedFromDownstream() > 0) {
        sink.next(info(intake, back, Optional.empty()));
      }
    }
  }

  private CaptureInfo info(
      StreamIntake intake, ReturnPath back, Optional<QemuStreamSummary> summary) {
    return new CaptureInfo(
        spec.directory(),
        intake.bytes(),
        intake.images().stream().mapToLong(CaptureInfo.Image::sizeBytes).sum(),
        intake.zeroPages(),
        intake.wholePages(),
        intake.deltaPages(),
        intake.images(),
        back.isOpen(),
        Duration.ofNanos(System.nanoTime() - beganNanos),
        summary);
  }

  /** Lets QEMU read the last word, and close. */
  private void awaitClose() {
    try {
      TransportBuffer more = inbox.next(CLOSING.toNanos());
      if (more != null) {
        more.release();
      }
    } catch (RuntimeException | InterruptedException e) {
      // The capture is complete, whatever happens now.
    }
  }
}
