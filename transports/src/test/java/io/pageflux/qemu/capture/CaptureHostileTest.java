package io.pageflux.qemu.capture;

import static io.pageflux.qemu.capture.CaptureStreams.END;
import static io.pageflux.qemu.capture.CaptureStreams.PAGE;
import static io.pageflux.qemu.capture.CaptureStreams.blocks;
import static io.pageflux.qemu.capture.CaptureStreams.bytes;
import static io.pageflux.qemu.capture.CaptureStreams.name;
import static io.pageflux.qemu.capture.CaptureStreams.opening;
import static io.pageflux.qemu.capture.CaptureStreams.page;
import static io.pageflux.qemu.capture.CaptureStreams.stream;
import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;
import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.transport.Connection;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.TransportBuffer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/** Streams that are put together here, whole ones and others. */
class CaptureHostileTest {

  private static final String OPEN_AND_PING = "08 0001 0000 08 0002 0004 0000002a";
  private static final String PONG = "0002 0004 0000002a";
  private static final String SUCCESS = "0001 0004 00000000";
  private static final String FAILURE = "0001 0004 00000001";

  @TempDir private Path temp = Path.of("");

  private final InMemoryTransport transport = InMemoryTransport.create();
  private final AtomicInteger sent = new AtomicInteger();
  private final AtomicInteger released = new AtomicInteger();
  private final ByteArrayOutputStream answers = new ByteArrayOutputStream();
  private final CompletableFuture<byte[]> answered = new CompletableFuture<>();
  private final CompletableFuture<CaptureInfo> end = new CompletableFuture<>();
  private final Sinks.Many<TransportBuffer> toCapture =
      Sinks.many().unicast().onBackpressureBuffer();
  private Connection qemu = InMemoryTransport.pair().first();
  private Path directory = Path.of("");
  private boolean refused;
  private boolean readAnswers = true;
  private Consumer<CaptureInfo> progress = info -> {};

  @BeforeEach
  void findDirectory() {
    directory = temp.resolve("new/capture");
  }

  @AfterEach
  void everythingIsGivenBack() {
    qemu.dispose();
    assertThat(released).hasValue(sent.get());
    if (Files.exists(directory)) {
      CaptureRig.assertLeavesNothing(directory);
    }
    assertThat(refused || end.isDone()).isTrue();
  }

  private Disposable begin(CaptureSpec spec) {
    Disposable capture =
        QemuCapture.of(spec, transport.acceptor())
            .doOnNext(info -> progress.accept(info))
            .last()
            .subscribe(end::complete, end::completeExceptionally);
    qemu = connect();
    qemu.send(toCapture.asFlux()).subscribe(v -> {}, e -> {});
    if (!readAnswers) {
      return capture;
    }
    qemu.receive()
        .subscribe(
            buffer -> {
              byte[] bytes = new byte[buffer.bytes().remaining()];
              buffer.bytes().get(bytes);
              buffer.release();
              answers.writeBytes(bytes);
            },
            answered::completeExceptionally,
            () -> answered.complete(answers.toByteArray()));
    return capture;
  }

  private Connection connect() {
    return Objects.requireNonNull(Mono.<Connection>from(transport.connector().connect()).block());
  }

  private CaptureSpec spec() {
    return CaptureSpec.of(directory).withSettleTime(Duration.ofMillis(20));
  }

  private void send(byte[] bytes) {
    sent.incrementAndGet();
    TransportBuffer buffer = new TransportBuffer(ByteBuffer.wrap(bytes), released::incrementAndGet);
    if (toCapture.tryEmitNext(buffer).isFailure()) {
      buffer.release();
    }
  }

  private CaptureInfo complete() throws Exception {
    return end.get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
  }

  private Throwable failure() throws InterruptedException, TimeoutException {
    try {
      throw new AssertionError(end.get(PATIENCE.toSeconds(), TimeUnit.SECONDS));
    } catch (ExecutionException e) {
      return Objects.requireNonNull(e.getCause());
    }
  }

  private Throwable failureOf(String... hex) throws Exception {
    begin(spec());
    send(bytes(hex));
    return failure();
  }

  private String answers() throws Exception {
    return HexFormat.of().formatHex(answered.get(PATIENCE.toSeconds(), TimeUnit.SECONDS));
  }

  private byte[] image(String file) throws IOException {
    return Files.readAllBytes(directory.resolve(file));
  }

  private List<String> names() throws IOException {
    return CaptureRig.names(directory);
  }

  private void assertComplete(CaptureInfo info, byte[] stream) throws IOException {
    assertThat(image("stream")).isEqualTo(stream);
    byte[] ram = new byte[4 * PAGE];
    Arrays.fill(ram, PAGE, 2 * PAGE, (byte) 0x55);
    assertThat(image("pc.ram")).isEqualTo(ram);
    assertThat(image("empty.ram")).isEmpty();
    assertThat(image("pc_ram.ram")).isEqualTo(new byte[2 * PAGE]);
    assertThat(names())
        .containsExactly("capture.json", "empty.ram", "pc.ram", "pc_ram.ram", "stream");
    assertThat(info.wholePages()).isEqualTo(1);
    assertThat(info.ramBytes()).isEqualTo(6 * PAGE);
    assertThat(info.summary().orElseThrow().devices()).hasSize(1);
  }

  @Test
  void aStreamOfSingleBytesIsCapturedAndQemuIsTold() throws Exception {
    byte[] stream = bytes(stream(OPEN_AND_PING));
    begin(spec());
    for (byte b : stream) {
      send(new byte[] {b});
    }
    CaptureInfo info = complete();
    assertComplete(info, stream);
    assertThat(info.returnPath()).isTrue();
    assertThat(answers()).isEqualTo((PONG + SUCCESS).replace(" ", ""));
  }

  @Test
  void withoutAReturnPathNothingIsSaidAndTheConnectionsEndIsTheEnd() throws Exception {
    byte[] stream = bytes(stream(""));
    begin(spec());
    send(stream);
    awaitReleased();
    assertThat(names()).contains("stream.partial", "pc.ram.partial").doesNotContain("stream");
    qemu.dispose();
    assertComplete(complete(), stream);
    assertThat(answers.size()).isZero();
  }

  private void awaitReleased() {
    long end = System.nanoTime() + PATIENCE.toNanos();
    while (released.get() < sent.get()) {
      assertThat(System.nanoTime()).isLessThan(end);
      Thread.onSpinWait();
    }
  }

  @Test
  void progressIsToldUntilItIsComplete() throws Exception {
    CompletableFuture<CaptureInfo> underWay = new CompletableFuture<>();
    String stream = stream(OPEN_AND_PING);
    String ram = stream.substring(0, stream.indexOf(END));
    progress =
        info -> {
          if (info.wholePages() > 0) {
            underWay.complete(info);
          }
        };
    begin(spec().withProgressInterval(Duration.ofMillis(1)));
    send(bytes(ram));
    CaptureInfo info = underWay.get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
    assertThat(info.complete()).isFalse();
    assertThat(info.streamBytes()).isEqualTo(bytes(ram).length);
    assertThat(info.images()).hasSize(3);
    send(bytes(stream.substring(ram.length())));
    assertThat(complete().complete()).isTrue();
  }

  @Test
  void aDescriptionInTheMiddleOfTheDevicesStateIsNotTheEnd() throws Exception {
    byte[] first = bytes(stream(OPEN_AND_PING));
    byte[] rest = bytes("04 00000010" + CaptureStreams.description());
    begin(spec().withSettleTime(Duration.ofSeconds(30)));
    send(first);
    awaitReleased();
    send(rest);
    awaitReleased();
    qemu.dispose();
    complete();
    assertThat(Files.size(directory.resolve("stream"))).isEqualTo(first.length + rest.length);
  }

  @Test
  void aStreamThatEndsInTheDevicesStateIsPartial() throws Exception {
    begin(spec());
    byte[] stream = bytes(stream(""));
    send(Arrays.copyOf(stream, stream.length - 1));
    awaitReleased();
    qemu.dispose();
    assertThat(failure())
        .hasMessageContaining("in the middle of the devices' state")
        .hasMessageContaining("suppress-vmdesc");
    assertThat(names())
        .containsExactly(
            "empty.ram.partial", "pc.ram.partial", "pc_ram.ram.partial", "stream.partial");
  }

  @Test
  void qemuHearsOfAFailure() throws Exception {
    assertThat(failureOf(opening(OPEN_AND_PING), blocks("pc.ram", 4 * PAGE), page("other", 1)))
        .hasMessageContaining("'other'")
        .hasMessageContaining(directory + ", in files called *.partial");
    assertThat(answers()).isEqualTo((PONG + FAILURE).replace(" ", ""));
  }

  @Test
  void whoIsNoQemuIsToldSoAndWhatHeSaidIsKept() throws Exception {
    assertThat(failureOf("474554202f")).hasMessageContaining("'QEVM'");
    assertThat(image("stream.partial")).isEqualTo(bytes("474554202f"));
  }

  @Test
  void aMultifdChannelIsCalledSo() throws Exception {
    assertThat(failureOf("11223344 00000001")).hasMessageContaining("multifd");
  }

  @Test
  void multifdsMarkInTheStreamIsCalledSo() throws Exception {
    assertThat(
            failureOf(
                opening(""),
                "%016x".formatted(PAGE | 4),
                name("r"),
                "%016x".formatted(PAGE),
                "0000000000000200"))
        .hasMessageContaining("capability multifd");
  }

  @Test
  void aSecondConnectionIsRefused() throws Exception {
    begin(spec());
    send(bytes(opening("")));
    awaitReleased();
    Connection second = connect();
    assertThat(failure()).hasMessageContaining("multifd").hasMessageContaining("second");
    second.onDispose().block(PATIENCE);
  }

  @Test
  void moreRamThanTheLimitIsRefusedBeforeAnythingIsMade() throws Exception {
    long most = CaptureSpec.DEFAULT_MAX_RAM_BYTES;
    assertThat(failureOf(opening(""), blocks("pc.ram", most + PAGE)))
        .hasMessageContaining("more than the limit of " + most);
    assertThat(names()).containsExactly("stream.partial");
  }

  @Test
  void moreRamThanTheDiskHasRoomForIsRefusedBeforeAnythingIsMade() throws Exception {
    begin(spec().withMaxRamBytes(Long.MAX_VALUE));
    send(bytes(opening(""), blocks("pc.ram", 1L << 60)));
    assertThat(failure())
        .hasMessageContaining("has room for")
        .extracting(e -> ((MigrationException) e).kind())
        .isEqualTo(Kind.LAYOUT);
    assertThat(names()).containsExactly("stream.partial");
  }

  @Test
  void aDamagedDeltaIsRefused() throws Exception {
    assertThat(
            failureOf(
                opening(""),
                blocks("pc.ram", 4 * PAGE),
                "02 00000002 0000000000001040" + name("pc.ram") + "01 0003 00ff00",
                "0000000000000010 7e 00000002"))
        .hasMessageContaining("page 1 of block 'pc.ram'");
  }

  @Test
  void aDirectoryWithSomethingInItIsLeftAlone() throws Exception {
    refused = true;
    Files.createDirectories(directory);
    Files.writeString(directory.resolve("mine"), "x");
    assertThat(refusal()).hasMessageContaining("is not empty, it holds mine");
    assertThat(names()).containsExactly("mine");
  }

  @Test
  void aFileIsNoDirectory() throws Exception {
    refused = true;
    directory = temp.resolve("file");
    Files.writeString(directory, "x");
    assertThat(refusal()).hasMessageContaining("is no directory");
  }

  private Throwable refusal() throws Exception {
    CompletableFuture<@Nullable CaptureInfo> refusal =
        QemuCapture.of(spec(), transport.acceptor()).last().toFuture();
    try {
      throw new AssertionError(refusal.get(PATIENCE.toSeconds(), TimeUnit.SECONDS));
    } catch (ExecutionException e) {
      assertThat(e.getCause()).isInstanceOf(IllegalArgumentException.class);
      return Objects.requireNonNull(e.getCause());
    }
  }

  @Test
  void whoSaysNothingIsNotWaitedForForEver() throws Exception {
    begin(spec().withSilenceTimeout(Duration.ofMillis(100)));
    assertThat(failure())
        .hasMessageContaining("since it connected")
        .extracting(e -> ((MigrationException) e).kind())
        .isEqualTo(Kind.TIMEOUT);
  }

  @Test
  void whoDoesNotReadItsAnswersIsRefused() throws Exception {
    readAnswers = false;
    begin(spec());
    send(bytes(opening(OPEN_AND_PING.repeat(2000))));
    assertThat(failure()).hasMessageContaining("does not read its return path");
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void aCancelGivesEverythingBack(boolean connected) throws Exception {
    CountDownLatch cancelled = new CountDownLatch(1);
    if (connected) {
      Disposable capture = begin(spec());
      send(bytes(opening(OPEN_AND_PING), blocks("pc.ram", 4 * PAGE)));
      awaitReleased();
      capture.dispose();
      assertThat(answers()).endsWith(FAILURE.replace(" ", ""));
      end.cancel(false);
    } else {
      refused = true;
      QemuCapture.of(spec(), transport.acceptor())
          .doOnCancel(cancelled::countDown)
          .subscribe()
          .dispose();
      assertThat(cancelled.await(PATIENCE.toSeconds(), TimeUnit.SECONDS)).isTrue();
    }
  }
}
