package io.pageflux.qemu.postcopy;

import static io.pageflux.qemu.postcopy.LazyResumes.PATIENCE;
import static io.pageflux.qemu.postcopy.LazyResumes.assertHas;
import static io.pageflux.qemu.postcopy.LazyResumes.failure;
import static io.pageflux.qemu.postcopy.LazyResumes.resume;
import static io.pageflux.qemu.postcopy.SyntheticCapture.PAGE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.qemu.stream.QemuCommand;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import reactor.util.retry.Retry;

/** What is said to a destination, and in which order. */
class LazyResumeTest {

  private static final int PAGES_AT_ONCE = PageSender.BATCH_BYTES / PAGE;

  @TempDir private Path directory = Path.of("");

  private SyntheticCapture capture(int... pages) {
    return new SyntheticCapture(directory, 42, pages).write();
  }

  private PostcopySpec spec() {
    return PostcopySpec.of(directory).withRecovery(Retry.max(0));
  }

  @Test
  void everythingArrivesOnceInOrder() {
    SyntheticCapture capture = capture(300, 3, 70);
    try (FakeDestination destination = new FakeDestination()) {
      PostcopyInfo info = resume(spec(), destination);
      assertHas(capture, destination);
      assertThat(destination.commands)
          .containsExactly(
              QemuCommand.OPEN_RETURN_PATH,
              QemuCommand.PING,
              QemuCommand.POSTCOPY_ADVISE,
              QemuCommand.POSTCOPY_RAM_DISCARD,
              QemuCommand.POSTCOPY_RAM_DISCARD,
              QemuCommand.POSTCOPY_RAM_DISCARD,
              QemuCommand.PING,
              QemuCommand.PACKAGED);
      assertThat(info.pages()).isEqualTo(373);
      assertThat(info.zeroPages() + info.wholePages()).isEqualTo(373);
      assertThat(info.zeroPages()).isBetween(60L, 200L);
      assertThat(info.status()).isEqualTo(PostcopyStatus.COMPLETED);
    }
  }

  @Test
  void aRequestedPageOvertakesTheOthersWhichGoOnBehindIt() {
    SyntheticCapture capture = capture(4000);
    AtomicInteger asked = new AtomicInteger();
    try (FakeDestination destination =
        new FakeDestination()
            .onPage(
                (fake, page) -> {
                  if (page.page() == 500) {
                    asked.set(fake.placed.size());
                    fake.request("ram0", 3000L * PAGE, PAGE);
                  }
                })) {
      PostcopyInfo info = resume(spec(), destination);
      assertHas(capture, destination);
      assertThat(info.requests()).isEqualTo(1);
      assertThat(info.serviceTimes().count()).isEqualTo(1);
      List<Long> pages = destination.placed.stream().map(FakeDestination.Placed::page).toList();
      int at = pages.indexOf(3000L);
      // What had left before, and what the transport holds, cannot be overtaken.
      assertThat(at - asked.get()).isBetween(0, 8 * PAGES_AT_ONCE);
      assertThat(pages.subList(at, at + 900))
          .isEqualTo(java.util.stream.LongStream.range(3000, 3900).boxed().toList());
    }
  }

  @Test
  void randomRequestsGetWhatTheyAskForOnce() {
    SyntheticCapture capture = capture(1000, 17, 513);
    Random random = new Random(7);
    int[] sizes = {1000, 17, 513};
    try (FakeDestination destination =
        new FakeDestination()
            .onPage(
                (fake, page) -> {
                  int block = random.nextInt(3);
                  int first = random.nextInt(sizes[block]);
                  int count = 1 + random.nextInt(Math.min(4, sizes[block] - first));
                  fake.request("ram" + block, (long) first * PAGE, count * PAGE);
                })) {
      PostcopyInfo info = resume(spec(), destination);
      assertHas(capture, destination);
      assertThat(info.requests()).isPositive();
      assertThat(info.vainRequests()).isPositive();
    }
  }

  @Test
  void aHostPageIsSentInOnePiece() {
    SyntheticCapture capture = capture(2048, 10);
    Random random = new Random(11);
    try (FakeDestination destination =
        new FakeDestination()
            .onPage(
                (fake, page) -> {
                  if (page.page() % 100 == 7) {
                    fake.request("ram0", random.nextInt(4) * 512L * PAGE, 512 * PAGE);
                    fake.request("ram1", random.nextInt(10) * (long) PAGE, PAGE);
                  }
                })) {
      resume(spec().withHostPageBytes(Map.of("ram0", 2 << 20)), destination);
      assertHas(capture, destination);
      long next = -1;
      for (FakeDestination.Placed page : destination.placed) {
        if (next % 512 > 0) {
          assertThat(page).isEqualTo(new FakeDestination.Placed("ram0", next));
        }
        next = page.block().equals("ram0") ? page.page() + 1 : 0;
      }
    }
  }

  @Test
  void whatNobodyWaitsForDoesNotFillTheConnection() throws InterruptedException {
    SyntheticCapture capture = capture(4000);
    HeldBuffers held = new HeldBuffers();
    try (FakeDestination destination =
        new FakeDestination()
            .onPage(
                (fake, page) -> {
                  if (page.page() == 3000) {
                    held.releaseAll();
                  }
                })) {
      CompletableFuture<PostcopyInfo> end = new CompletableFuture<>();
      QemuPostcopy.resume(spec(), () -> destination.connect().map(held::over))
          .last()
          .subscribe(end::complete, end::completeExceptionally);
      held.await(DestinationLine.MAX_BACKGROUND_BUFFERS);
      destination.request("ram0", 3000L * PAGE, PAGE);
      end.orTimeout(60, TimeUnit.SECONDS).join();
      assertHas(capture, destination);
      assertThat(destination.placed.indexOf(new FakeDestination.Placed("ram0", 3000)))
          .isEqualTo(DestinationLine.MAX_BACKGROUND_BUFFERS * PAGES_AT_ONCE);
    }
  }

  @Test
  void aSilentDestinationIsNotWaitedForForEver() {
    capture(100);
    try (FakeDestination destination = new FakeDestination().withoutPongs()) {
      MigrationException e = failure(spec().withAnswerTimeout(Duration.ofMillis(50)), destination);
      assertThat(e.kind()).isEqualTo(Kind.TIMEOUT);
      assertThat(e).hasMessageContaining("runs nowhere");
    }
  }

  @Test
  void aDestinationThatNeverEndsIsNotWaitedForForEver() {
    capture(100);
    try (FakeDestination destination = new FakeDestination().withoutShut()) {
      MigrationException e = failure(spec().withCloseTimeout(Duration.ofMillis(50)), destination);
      assertThat(e.kind()).isEqualTo(Kind.TIMEOUT);
      assertThat(e).hasMessageContaining("the guest is at the destination");
    }
  }

  @Test
  void aConnectionLostBeforeTheGuestRunsIsAFailure() {
    capture(100);
    try (FakeDestination destination =
        new FakeDestination().withoutPongs().onConnected(FakeDestination::hangUp)) {
      MigrationException e = failure(spec(), destination);
      assertThat(e.kind()).isEqualTo(Kind.TRANSPORT);
      assertThat(e).hasMessageContaining("runs nowhere");
    }
  }

  @Test
  void aConnectionLostLaterIsMadeAgainAsOftenAsTheSpecSays() {
    capture(5000);
    AtomicInteger connections = new AtomicInteger();
    try (FakeDestination destination =
        new FakeDestination()
            .onPage(
                (fake, page) -> {
                  if (page.page() == 100) {
                    fake.hangUp();
                  }
                })) {
      PostcopySpec three = spec().withRecovery(Retry.max(3));
      assertThatThrownBy(
              () ->
                  QemuPostcopy.resume(
                          three,
                          () ->
                              connections.getAndIncrement() == 0
                                  ? destination.connect()
                                  : reactor.core.publisher.Mono.error(
                                      MigrationException.of(Kind.TRANSPORT, "no way")))
                      .blockLast(PATIENCE))
          .isInstanceOf(MigrationException.class)
          .hasMessageContaining("could not be recovered")
          .hasMessageContaining("no way")
          .hasMessageContaining("the guest is at the destination");
      assertThat(connections).hasValue(4);
    }
  }

  @Test
  void aStopIsHeardWhileItIsWaitedForTheDestination() {
    capture(100);
    try (FakeDestination destination = new FakeDestination().withoutPongs()) {
      assertThatThrownBy(
              () ->
                  QemuPostcopy.resume(
                          spec(),
                          destination,
                          reactor.core.publisher.Mono.delay(Duration.ofMillis(20)).then())
                      .blockLast(PATIENCE))
          .isInstanceOfSatisfying(
              MigrationException.class, e -> assertThat(e.kind()).isEqualTo(Kind.CANCELLED));
    }
  }
}
