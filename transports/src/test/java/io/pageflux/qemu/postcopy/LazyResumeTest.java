package io.pageflux.qemu.postcopy;

import static io.pageflux.qemu.postcopy.SyntheticCapture.PAGE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.qemu.stream.QemuCommand;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.util.retry.Retry;

/** What is said to a destination, and what is made of its answers. */
class LazyResumeTest {

  private static final Duration PATIENCE = Duration.ofSeconds(60);

  @TempDir private Path directory = Path.of("");

  private SyntheticCapture capture(int... pages) {
    return new SyntheticCapture(directory, 42, pages).write();
  }

  private PostcopySpec spec() {
    return PostcopySpec.of(directory).withRecovery(Retry.max(0));
  }

  private static PostcopyInfo resume(PostcopySpec spec, FakeDestination destination) {
    return Objects.requireNonNull(QemuPostcopy.resume(spec, destination).blockLast(PATIENCE));
  }

  private static MigrationException failure(PostcopySpec spec, FakeDestination destination) {
    try {
      return new MigrationFailure(resume(spec, destination)).none();
    } catch (MigrationException e) {
      return e;
    }
  }

  private record MigrationFailure(PostcopyInfo info) {
    MigrationException none() {
      throw new AssertionError("complete: " + info);
    }
  }

  private static void assertHas(SyntheticCapture capture, FakeDestination destination) {
    assertThat(destination.faults).isEmpty();
    for (int i = 0; i < capture.contents.size(); i++) {
      byte[] block = capture.contents.get(i);
      for (int page = 0; page < block.length / PAGE; page++) {
        assertThat(destination.contents.get(new FakeDestination.Placed("ram" + i, page)))
            .as("page %d of block %d", page, i)
            .isEqualTo(Arrays.copyOfRange(block, page * PAGE, (page + 1) * PAGE));
      }
    }
    byte[] devices = destination.devices.toByteArray();
    int tail = capture.index.path("tail-bytes").asInt();
    assertThat(Arrays.copyOfRange(devices, 5, 5 + SyntheticCapture.DEVICES_BYTES))
        .isEqualTo(
            Arrays.copyOfRange(
                capture.stream,
                capture.stream.length - tail,
                capture.stream.length - tail + SyntheticCapture.DEVICES_BYTES));
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
      assertThat(at - asked.get()).isBetween(0, 8 * 8);
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

  @ParameterizedTest
  @ValueSource(
      strings = {"outside", "behind", "unaligned", "part", "nothing", "unnamed", "unknown", "huge"})
  void aRequestThatCannotBeMeantIsRefused(String which) {
    capture(100, 10);
    try (FakeDestination destination =
        new FakeDestination()
            .onPackage(
                fake -> {
                  switch (which) {
                    case "outside" -> fake.request("ram0", 100L * PAGE, PAGE);
                    case "behind" -> fake.request("ram0", 99L * PAGE, 2 * PAGE);
                    case "unaligned" -> fake.request("ram0", 5, PAGE);
                    case "part" -> fake.request("ram0", 0, 100);
                    case "nothing" -> fake.request("ram0", 0, 0);
                    case "unnamed" -> fake.request(0, PAGE);
                    case "unknown" -> fake.request("ram7", 0, PAGE);
                    default -> fake.request("ram0", 0, -PAGE);
                  }
                })) {
      MigrationException e = failure(spec(), destination);
      assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
      assertThat(e).hasMessageContaining("byte 16 of QEMU's return path");
      assertThat(e).hasMessageContaining("may be at the destination");
    }
  }

  @Test
  void aRequestBeforeTheGuestIsHandedOverIsRefused() {
    capture(100);
    try (FakeDestination destination =
        new FakeDestination().withoutPongs().onConnected(fake -> fake.request("ram0", 0, PAGE))) {
      MigrationException e = failure(spec(), destination);
      assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
      assertThat(e).hasMessageContaining("has not been given the guest");
      assertThat(e).hasMessageContaining("runs nowhere");
    }
  }

  @Test
  void requestsWithoutEndAreRefused() {
    capture(100);
    try (FakeDestination destination =
        new FakeDestination()
            .withoutShut()
            .onPage(
                (fake, page) -> {
                  if (fake.placed.size() == 100) {
                    for (int i = 0; i < PagesLeft.MAX_VAIN + 100 + 10; i++) {
                      fake.request("ram0", 0, PAGE);
                    }
                  }
                })) {
      MigrationException e = failure(spec(), destination);
      assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
      assertThat(e).hasMessageContaining("sent before");
    }
  }

  @Test
  void anEndBeforeTheEndIsRefused() {
    capture(5000);
    try (FakeDestination destination =
        new FakeDestination()
            .onPage(
                (fake, page) -> {
                  if (page.page() == 10) {
                    fake.shut(0);
                  }
                })) {
      MigrationException e = failure(spec(), destination);
      assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
      assertThat(e).hasMessageContaining("it has everything");
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void aDestinationThatFailsSaysSo(boolean early) {
    capture(100);
    try (FakeDestination destination = new FakeDestination().withoutPongs().withoutShut()) {
      if (early) {
        destination.onConnected(fake -> fake.shut(1));
      } else {
        destination
            .onConnected(fake -> fake.say(2, ByteBuffer.allocate(4).putInt(2).flip()))
            .onPackage(fake -> fake.shut(1));
      }
      MigrationException e = failure(spec(), destination);
      assertThat(e.kind()).isEqualTo(Kind.GUEST);
      assertThat(e).hasMessageContaining(early ? "runs nowhere" : "may be at the destination");
    }
  }

  @Test
  void aDestinationThatFailsAtTheVeryEndSaysSo() {
    capture(100);
    try (FakeDestination destination = new FakeDestination().withShut(1)) {
      MigrationException e = failure(spec(), destination);
      assertThat(e.kind()).isEqualTo(Kind.GUEST);
      assertThat(e).hasMessageContaining("the guest is at the destination");
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
          .isEqualTo(DestinationLine.MAX_BACKGROUND_BUFFERS * 8);
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
  void talkWithoutEndIsRefused() {
    capture(100);
    try (FakeDestination destination =
        new FakeDestination()
            .withoutPongs()
            .onConnected(
                fake -> {
                  for (int i = 0; i < 1000; i++) {
                    fake.say(2, ByteBuffer.allocate(4).putInt(99).flip());
                  }
                })) {
      assertThat(failure(spec(), destination).kind()).isEqualTo(Kind.PROTOCOL);
    }
  }

  @Test
  void aBitmapThatNobodyAskedForIsRefused() {
    capture(100);
    try (FakeDestination destination =
        new FakeDestination()
            .onPackage(
                fake -> {
                  fake.say(5, ByteBuffer.wrap(new byte[] {4, 'r', 'a', 'm', '0'}));
                  fake.raw(
                      ByteBuffer.allocate(32)
                          .putLong(16)
                          .putLong(24, 0x0123456789abcdefL)
                          .rewind());
                })) {
      MigrationException e = failure(spec(), destination);
      assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
      assertThat(e).hasMessageContaining("nobody has asked");
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

  @Test
  void aDamagedCaptureIsRefused() throws IOException {
    SyntheticCapture capture = new SyntheticCapture(directory, 3, 20);
    try (FakeDestination destination = new FakeDestination()) {
      assertThatThrownBy(() -> resume(spec(), destination))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("capture.json");
      capture.index.put("tail-bytes", 5);
      assertDamaged(capture.write(), destination, "end");
      capture.index.put("tail-bytes", capture.stream.length + 1);
      assertDamaged(capture.write(), destination, "devices' state");
      capture.index.put("stream-file", "../stream");
      assertDamaged(capture.write(), destination, "'../stream'");
      capture.index.put("stream-file", "stream").put("version", 2);
      assertDamaged(capture.write(), destination, "version");
      SyntheticCapture fresh = new SyntheticCapture(directory, 3, 20).write();
      Files.write(directory.resolve("ram0.ram"), new byte[PAGE]);
      assertDamaged(fresh, destination, "ram0");
      fresh.write();
      Files.delete(directory.resolve("ram0.ram"));
      assertDamaged(fresh, destination, "missing");
      fresh.write();
      Files.write(directory.resolve("stream"), new byte[10]);
      assertDamaged(fresh, destination, "10 bytes");
      Files.writeString(directory.resolve("capture.json"), "{");
      assertDamaged(fresh, destination, "no JSON");
    }
  }

  private void assertDamaged(SyntheticCapture capture, FakeDestination destination, String reason) {
    assertThat(capture.directory).isEqualTo(directory);
    MigrationException e = failure(spec(), destination);
    assertThat(e.kind()).isEqualTo(Kind.INTEGRITY);
    assertThat(e).hasMessageContaining("damaged").hasMessageContaining(reason);
  }

  @Test
  void hostPagesHaveToFitTheBlocks() {
    capture(100);
    try (FakeDestination destination = new FakeDestination()) {
      for (Map<String, Integer> wrong :
          List.of(Map.of("ram9", 2 << 20), Map.of("ram0", 2 << 20), Map.of("ram0", 2048))) {
        assertThatThrownBy(() -> resume(spec().withHostPageBytes(wrong), destination))
            .isInstanceOf(IllegalArgumentException.class);
      }
    }
  }
}
