package io.pageflux.qemu.stream;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;
import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.page.BatchGeometry;
import io.pageflux.page.SlabPool;
import io.pageflux.qemu.testing.BootSector;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.qemu.testing.RequiresQemu;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.transport.tcp.SocketTransport;
import io.pageflux.transport.tcp.UnixSpec;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.reactivestreams.Subscription;
import reactor.core.publisher.BaseSubscriber;
import reactor.core.publisher.Mono;

/** Whoever reads a live QEMU's stream slowly slows QEMU down: what waits on the way is little. */
@RequiresQemu
class SlowSubscriberQemuTest {

  private static final BootSector WRITER = BootSector.upToMiB(16).withDelay(2_000);
  private static final BatchGeometry GEOMETRY = new BatchGeometry(64, 256 << 10);
  private static final int READ_BYTES = 64 << 10;

  /** The batch in hand, the next one, and what the reader says of the buffers that it holds. */
  private static final long MOST_READ_BYTES = 2 * GEOMETRY.payloadBytes() + 3 * READ_BYTES;

  /** The socket's buffer (212,992 bytes of Linux's default), and QEMU's own of 64 pages. */
  private static final long MOST_WAITING_BYTES = MOST_READ_BYTES + (512 << 10);

  /** Takes one element at a time, and all of them in the end. */
  private static final class Slow extends BaseSubscriber<QemuElement> {

    private final BlockingQueue<QemuElement> elements = new LinkedBlockingQueue<>();
    private final CompletableFuture<Void> end = new CompletableFuture<>();
    private volatile boolean slow = true;

    @Override
    protected void hookOnSubscribe(Subscription subscription) {}

    @Override
    protected void hookOnNext(QemuElement element) {
      if (slow) {
        elements.add(element);
      } else {
        element.release();
      }
    }

    @Override
    protected void hookOnComplete() {
      end.complete(null);
    }

    @Override
    protected void hookOnError(Throwable e) {
      end.completeExceptionally(e);
    }

    QemuElement.Pages nextPages() throws InterruptedException {
      while (true) {
        request(1);
        QemuElement element =
            Objects.requireNonNull(elements.poll(PATIENCE.toSeconds(), TimeUnit.SECONDS));
        if (element instanceof QemuElement.Pages pages) {
          return pages;
        }
      }
    }

    void takeAll() {
      slow = false;
      requestUnbounded();
    }
  }

  private static void limit(QemuProcess source, int downtimeMillis) {
    source
        .commands()
        .setParameters(Map.of("max-bandwidth", 1L << 33, "downtime-limit", downtimeMillis))
        .block(PATIENCE);
  }

  /** How many bytes QEMU says that it has sent, once it sends no more. */
  private static long transferred(QemuProcess source) {
    AtomicLong before = new AtomicLong(-1);
    return Objects.requireNonNull(
        Mono.defer(source.commands()::queryMigrate)
            .map(status -> status.info().path("ram").path("transferred").asLong())
            .repeatWhen(answered -> answered.delayElements(Duration.ofMillis(20)))
            .filter(bytes -> before.getAndSet(bytes) == bytes)
            .blockFirst(PATIENCE));
  }

  @Test
  void aSlowSubscriberSlowsQemuDown() throws Exception {
    try (QemuProcess source = QemuProcess.builder().boot(WRITER).start();
        SlabPool pool = new SlabPool(8, GEOMETRY)) {
      source.awaitBooted();
      // Not to be content with any downtime: QEMU answers nobody while it is stopped and sends.
      limit(source, 1);
      Path socket = source.directory().resolve("out");
      Acceptor acceptor =
          Objects.requireNonNull(
              SocketTransport.listen(UnixSpec.of(socket).withReadBytes(READ_BYTES))
                  .block(PATIENCE));
      source.commands().migrate("unix:" + socket).block(PATIENCE);
      Connection connection = Objects.requireNonNull(acceptor.accept().block(PATIENCE));
      AtomicLong read = new AtomicLong();
      Slow subscriber = new Slow();
      QemuStreams.read(
              connection.receive().doOnNext(buffer -> read.addAndGet(buffer.bytes().remaining())),
              pool)
          .subscribe(subscriber);
      for (int i = 0; i < 24; i++) {
        QemuElement.Pages pages = subscriber.nextPages();
        if (i % 4 == 0) {
          assertThat(transferred(source) - pages.offset()).isLessThan(MOST_WAITING_BYTES);
          assertThat(read.get() - pages.offset()).isLessThan(MOST_READ_BYTES);
          assertThat(pool.outstanding()).isLessThanOrEqualTo(2);
        }
        pages.release();
      }
      // There was more that QEMU could have sent.
      assertThat(read.get()).isLessThan(WRITER.endByte() - WRITER.firstByte());
      subscriber.takeAll();
      limit(source, 20_000);
      subscriber.end.get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
      assertThat(pool.outstanding()).isZero();
      assertThat(source.commands().awaitMigration(PATIENCE).block(PATIENCE))
          .satisfies(status -> assertThat(status.isCompleted()).isTrue());
      connection.dispose();
      acceptor.dispose();
    }
  }
}
