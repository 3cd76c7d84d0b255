package io.pageflux.qemu.postcopy;

import io.pageflux.memory.RamBlockLayout;
import io.pageflux.qemu.stream.PostcopyPayload;
import io.pageflux.qemu.stream.QemuCommand;
import io.pageflux.qemu.stream.QemuReturnMessage;
import io.pageflux.qemu.stream.QemuStreamWriter;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * What is said to a destination, in its order.
 *
 * <pre>
 * header, configuration, OPEN_RETURN_PATH, PING, ADVISE, START with the list of blocks and no pages,
 * DISCARD of everything, PING     (the answer shows that the destination is prepared)
 * PACKAGED: LISTEN, the devices' state, PING, RUN    (the answer: it has its devices)
 * PART with all pages, END, end marker     (the answer: SHUT 0)
 * </pre>
 *
 * <p>And to recover it, on another connection: RECV_BITMAP for each block, RESUME, and the last
 * line again with the pages that are missing.
 *
 * <p>Source of the order: QEMU, {@code migration/migration.c} and {@code migration/savevm.c}; tried
 * against 7.2.
 */
final class LazyResume {

  private static final ByteBuffer NO_PAYLOAD = ByteBuffer.allocate(0);

  private static final int PING_CONNECTED = 1;
  private static final int PING_PREPARED = 2;
  private static final int PING_HAS_DEVICES = 3;

  private static final int DEVICE_PIECE_BYTES = 64 << 10;

  /** How much is made up for when the background has not been served for a while: 10 ms' worth. */
  private static final long BURST_NANOS = 10_000_000;

  private final PostcopySpec spec;
  private final CapturedGuest guest;
  private final HostPages hostPages;
  private final PageSender pages;
  private final PostcopyProgress progress;
  private final Consumer<Boolean> report;
  private @Nullable QemuStreamWriter writer;

  /**
   * Makes a script.
   *
   * @param report called to report progress: now if true, else if it is time
   */
  LazyResume(
      PostcopySpec spec,
      CapturedGuest guest,
      HostPages hostPages,
      PageSender pages,
      PostcopyProgress progress,
      Consumer<Boolean> report) {
    this.spec = spec;
    this.guest = guest;
    this.hostPages = hostPages;
    this.pages = pages;
    this.progress = progress;
    this.report = report;
  }

  /** Brings the guest to the destination, but for its pages. */
  void start(DestinationLine line) throws IOException, InterruptedException {
    QemuStreamWriter out = pages.begin();
    writer = out;
    long bytes = 0;
    for (ByteBuffer piece :
        List.of(
            out.header(),
            guest.configuration(),
            out.command(QemuCommand.OPEN_RETURN_PATH, NO_PAYLOAD),
            ping(out, PING_CONNECTED),
            out.command(QemuCommand.POSTCOPY_ADVISE, hostPages.advice().payload()),
            out.sectionStart(),
            out.ramBlocks(hostPages.listed()),
            out.endOfSection())) {
      bytes += piece.remaining();
      line.send(piece);
    }
    for (RamBlockLayout block : guest.layout().blocks()) {
      ByteBuffer discard =
          out.command(
              QemuCommand.POSTCOPY_RAM_DISCARD,
              new PostcopyPayload.Discard(
                      block.name(), List.of(new PostcopyPayload.Range(0, block.sizeBytes())))
                  .payload());
      bytes += discard.remaining();
      line.send(discard);
    }
    line.send(ping(out, PING_PREPARED));
    progress.started(bytes);
    line.await(
        m -> isPong(m, PING_PREPARED), "prepared itself for post-copy", spec.answerTimeout());
    handOver(out, line);
  }

  private void handOver(QemuStreamWriter out, DestinationLine line)
      throws IOException, InterruptedException {
    ByteBuffer listen = out.command(QemuCommand.POSTCOPY_LISTEN, NO_PAYLOAD);
    ByteBuffer ping = ping(out, PING_HAS_DEVICES);
    ByteBuffer run = out.command(QemuCommand.POSTCOPY_RUN, NO_PAYLOAD);
    long bytes = listen.remaining() + guest.devicesBytes() + ping.remaining() + run.remaining();
    ByteBuffer head = out.command(QemuCommand.PACKAGED, PostcopyPayload.packaged(bytes));
    progress.handingOver(bytes);
    report.accept(true);
    line.handOver();
    line.send(head);
    line.send(listen);
    for (long at = 0; at < guest.devicesBytes(); at += DEVICE_PIECE_BYTES) {
      ByteBuffer piece =
          ByteBuffer.allocate((int) Math.min(DEVICE_PIECE_BYTES, guest.devicesBytes() - at));
      guest.readDevices(at, piece);
      line.send(piece.flip());
    }
    line.send(ping);
    line.send(run);
  }

  /** Finds out what the destination has, and has it go on. */
  void recover(DestinationLine line) throws InterruptedException {
    QemuStreamWriter out = pages.begin();
    writer = out;
    progress.status(PostcopyStatus.RECOVERING);
    line.handOver();
    List<RamBlockLayout> blocks = guest.layout().blocks();
    for (int i = 0; i < blocks.size(); i++) {
      line.expectBitmap(i);
      String name = blocks.get(i).name();
      line.send(out.command(QemuCommand.RECV_BITMAP, PostcopyPayload.receivedBitmap(name)));
      QemuReturnMessage answer =
          line.await(
              message -> message instanceof QemuReturnMessage.ReceivedPages,
              "said what it has of RAM block '%s'".formatted(name),
              spec.answerTimeout());
      line.arrived((QemuReturnMessage.ReceivedPages) answer);
    }
    line.send(out.command(QemuCommand.POSTCOPY_RESUME, NO_PAYLOAD));
    line.await(
        message -> message instanceof QemuReturnMessage.ResumeAck,
        "said that it goes on",
        spec.answerTimeout());
    progress.recovered();
    report.accept(true);
  }

  /** Sends all pages that are left. */
  void serve(DestinationLine line) throws IOException, InterruptedException {
    line.send(writer().sectionPart());
    int most = line.slabs().geometry().maxPages();
    long backgroundNanos = System.nanoTime();
    while (line.pagesLeft() > 0) {
      report.accept(false);
      PagesLeft.Run run =
          line.next(
              most, backgroundNanos, progress.reportedNanos() + spec.progressInterval().toNanos());
      if (run != null) {
        long bytes = pages.send(run, line);
        if (!run.requested()) {
          backgroundNanos = nextBackground(backgroundNanos, bytes);
        }
      } else if (isPong(line.poll(), PING_HAS_DEVICES)) {
        running();
      }
    }
  }

  private long nextBackground(long beforeNanos, long bytes) {
    long rate = spec.backgroundBytesPerSecond();
    long now = System.nanoTime();
    if (rate == 0) {
      return now;
    }
    long from = beforeNanos - (now - BURST_NANOS) < 0 ? now - BURST_NANOS : beforeNanos;
    return from + (long) (bytes * 1e9 / rate);
  }

  private void running() {
    progress.running();
    report.accept(true);
  }

  /** Says that this was all, and waits until the destination has it. */
  void finish(DestinationLine line) throws InterruptedException {
    QemuStreamWriter out = writer();
    line.send(out.endOfSection());
    line.send(out.sectionEnd());
    line.send(out.endOfSection());
    line.send(ByteBuffer.allocate(1)); // the end marker
    if (!progress.isRunning()) {
      line.await(
          m -> isPong(m, PING_HAS_DEVICES), "loaded its devices' state", spec.closeTimeout());
      running();
    }
    line.await(
        message -> message instanceof QemuReturnMessage.Shut shut && shut.value() == 0,
        "said that it has everything",
        spec.closeTimeout());
    progress.status(PostcopyStatus.COMPLETED);
  }

  private QemuStreamWriter writer() {
    if (writer == null) {
      throw new IllegalStateException("nothing has been said yet");
    }
    return writer;
  }

  private static ByteBuffer ping(QemuStreamWriter out, int number) {
    return out.command(QemuCommand.PING, ByteBuffer.allocate(4).putInt(number).flip());
  }

  private static boolean isPong(@Nullable QemuReturnMessage message, int ping) {
    return message instanceof QemuReturnMessage.Pong pong && pong.value() == ping;
  }
}
