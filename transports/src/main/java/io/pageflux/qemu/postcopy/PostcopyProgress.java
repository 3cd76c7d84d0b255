package io.pageflux.qemu.postcopy;

import io.pageflux.memory.RamLayout;
import java.time.Duration;
import org.jspecify.annotations.Nullable;

/**
 * How far a session is.
 *
 * <p><b>Threading:</b> for the session's thread; service times are recorded by any.
 */
final class PostcopyProgress {

  private final ServiceTimes.Recorder serviceTimes = new ServiceTimes.Recorder();
  private PostcopyStatus status = PostcopyStatus.STARTING;
  private @Nullable RamLayout layout;
  private @Nullable PageSender pages;
  private @Nullable DestinationLine line;
  private long startBytes;
  private long deviceBytes;
  private long earlierRequests;
  private long earlierVainRequests;
  private int recoveries;
  private boolean atDestination;
  private boolean running;
  private boolean connected;
  private long beganNanos;
  private long runningNanos;
  private long reportedNanos = System.nanoTime();

  ServiceTimes.Recorder serviceTimes() {
    return serviceTimes;
  }

  void begin(RamLayout guestLayout, PageSender sender) {
    layout = guestLayout;
    pages = sender;
  }

  void connected(DestinationLine made) {
    if (!connected) {
      connected = true;
      beganNanos = System.nanoTime();
    }
    DestinationLine before = line;
    if (before != null) {
      earlierRequests += before.requests();
      earlierVainRequests += before.vainRequests();
    }
    line = made;
  }

  void status(PostcopyStatus now) {
    status = now;
  }

  void started(long bytes) {
    startBytes = bytes;
  }

  /** The devices' state is about to leave. */
  void handingOver(long bytes) {
    status = PostcopyStatus.HANDING_OVER;
    atDestination = true;
    deviceBytes = bytes;
  }

  /** {@return whether the destination may have the guest} */
  boolean atDestination() {
    return atDestination;
  }

  /** The destination has said that it has the guest's devices. */
  void running() {
    running = true;
    runningNanos = System.nanoTime();
    status = PostcopyStatus.ACTIVE;
  }

  /** {@return whether the destination is known to have the guest} */
  boolean isRunning() {
    return running;
  }

  /** The guest is known to be at the destination, whoever has brought it there. */
  void foundAtDestination() {
    atDestination = true;
    running = true;
  }

  void recovered() {
    recoveries++;
    foundAtDestination();
    status = PostcopyStatus.ACTIVE;
  }

  /** {@return whether so much time has gone by since it was last} */
  boolean isReportDue(Duration interval) {
    long now = System.nanoTime();
    if (now - reportedNanos < interval.toNanos()) {
      return false;
    }
    reportedNanos = now;
    return true;
  }

  long reportedNanos() {
    return reportedNanos;
  }

  PostcopyInfo info() {
    RamLayout ram = layout;
    PageSender sent = pages;
    DestinationLine current = line;
    if (ram == null || sent == null) {
      throw new IllegalStateException("not begun");
    }
    long total = ram.totalPages();
    return new PostcopyInfo(
        status,
        ram.totalBytes(),
        total,
        current == null ? total : current.pagesLeft(),
        earlierRequests + (current == null ? 0 : current.requests()),
        earlierVainRequests + (current == null ? 0 : current.vainRequests()),
        startBytes,
        deviceBytes,
        sent.requestedBytes(),
        sent.backgroundBytes(),
        sent.zeroPages(),
        sent.wholePages(),
        recoveries,
        serviceTimes.times(),
        runningNanos == 0 ? Duration.ZERO : Duration.ofNanos(runningNanos - beganNanos),
        connected ? Duration.ofNanos(System.nanoTime() - beganNanos) : Duration.ZERO);
  }
}
