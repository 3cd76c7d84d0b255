package io.pageflux.postcopy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.GuestMemory;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.SplittableRandom;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;
import reactor.test.scheduler.VirtualTimeScheduler;

/** What a guest gets to see of a memory whose pages are absent. */
@Timeout(30)
class PostcopyMemoryTest {

  private static final int PAGE = 512;
  private static final int PAGES = 64;
  private static final BatchGeometry GEOMETRY = new BatchGeometry(8, 4096);

  private final GuestMemory memory =
      GuestMemory.builder().pageSize(PAGE).anonymous("ram", PAGES * PAGE).build();
  private final SlabPool pool = new SlabPool(4, GEOMETRY);
  private final List<Long> requests = Collections.synchronizedList(new ArrayList<>());
  private PostcopyMemory guest = PostcopyMemory.of(memory);
  private AbsentPages absent = new AbsentPages(memory, PostcopySpec.DEFAULT);

  @AfterEach
  void nothingIsLeft() {
    assertThat(pool.outstanding()).isZero();
    assertThat(absent.waitedFor()).isZero();
    pool.close();
    memory.close();
  }

  /** All pages are absent, and hold what a page must never be read as. */
  private void switchOver(PostcopySpec spec) {
    memory.block(0).segment().fill((byte) 'S');
    guest = PostcopyMemory.of(memory, spec);
    absent = new AbsentPages(memory, spec);
    assertThat(absent.discard(0, 0, PAGES)).isEqualTo(PAGES);
    absent.connect((block, page) -> requests.add(page));
    guest.begin(absent);
  }

  private void arrive(boolean onDemand, char contents, long... pages) {
    PageBatch batch =
        new PageBatch(
            0,
            memory.block(0).layout(),
            Objects.requireNonNull(pool.tryAcquire()),
            GEOMETRY.headroomBytes(),
            GEOMETRY);
    for (long page : pages) {
      batch.append(page, contents == 0 ? PageKind.ZERO : PageKind.RAW, contents == 0 ? 0 : PAGE);
    }
    batch.stored().fill((byte) contents);
    try {
      absent.arrived(batch, onDemand);
    } finally {
      batch.release();
    }
  }

  private char at(long page) {
    return (char) memory.block(0).segment().get(ValueLayout.JAVA_BYTE, page * PAGE + 5);
  }

  private Thread reader(long page, AtomicReference<Object> result) {
    return Thread.ofVirtual()
        .start(
            () -> {
              try {
                byte[] bytes = new byte[16];
                guest.read(0, page * PAGE, MemorySegment.ofArray(bytes));
                result.set((char) bytes[3]);
              } catch (RuntimeException e) {
                result.set(e);
              }
            });
  }

  private void awaitRequests(int count) {
    while (requests.size() < count) {
      Thread.onSpinWait();
    }
  }

  @Test
  void beforeASwitchAllIsHere() {
    memory.block(0).segment().fill((byte) 'x');
    assertThat(guest.isHere(0, 0, memory.sizeBytes())).isTrue();
    StepVerifier.create(guest.fetch(0, 0, 10)).verifyComplete();
    guest.write(0, 3, MemorySegment.ofArray(new byte[] {'a'}));
    assertThat(guest.getLong(0, 0)).isEqualTo(0x7878786178787878L);
    assertThatThrownBy(() -> guest.require(0, PAGES * PAGE - 4, 8))
        .isInstanceOf(IndexOutOfBoundsException.class);
  }

  @Test
  void whoReadsAnAbsentPageGetsItWhenItHasCome() throws InterruptedException {
    switchOver(PostcopySpec.DEFAULT);
    AtomicReference<Object> first = new AtomicReference<>();
    AtomicReference<Object> second = new AtomicReference<>();
    Thread one = reader(7, first);
    Thread two = reader(7, second);
    awaitRequests(1);
    StepVerifier.create(guest.read(0, 7 * PAGE, 4).map(bytes -> (char) bytes[2]))
        .then(() -> arrive(true, 'p', 7))
        .expectNext('p')
        .verifyComplete();
    one.join();
    two.join();
    assertThat(first.get()).isEqualTo('p');
    assertThat(second.get()).isEqualTo('p');
    assertThat(requests).containsExactly(7L);
    assertThat(absent.missing()).isEqualTo(PAGES - 1);
    assertThat(absent.unanswered()).isZero();
    assertThat(absent.latency().count()).isEqualTo(1);
  }

  @Test
  void aPageThatIsPushedIsNotAskedForAndSettlesARequest() {
    switchOver(PostcopySpec.DEFAULT);
    Disposable waiting = guest.fetch(0, 3 * PAGE, 1).subscribe();
    arrive(false, 'q', 2, 3, 4);
    assertThat(waiting.isDisposed()).isTrue();
    assertThat(guest.isHere(0, 2 * PAGE, 3 * PAGE)).isTrue();
    assertThat(requests).containsExactly(3L);
    assertThat(absent.unanswered()).isZero();
    assertThat(absent.pushedPages()).isEqualTo(3);
  }

  @Test
  void aPageThatArrivesNeverOverwritesWhatTheGuestHasWritten() {
    switchOver(PostcopySpec.DEFAULT);
    byte[] whole = new byte[PAGE];
    java.util.Arrays.fill(whole, (byte) 'g');
    guest.write(0, 9 * PAGE, MemorySegment.ofArray(whole));
    assertThat(requests).isEmpty();
    assertThat(absent.ownedPages()).isEqualTo(1);
    arrive(false, 'q', 8, 9, 10);
    assertThat(at(8)).isEqualTo('q');
    assertThat(at(9)).isEqualTo('g');
    guest.write(0, 10 * PAGE + 5, MemorySegment.ofArray(new byte[] {'w'}));
    arrive(false, 'z', 10);
    assertThat(at(10)).isEqualTo('w');
    assertThat(absent.droppedPages()).isEqualTo(2);
  }

  @Test
  void aPageThatWasAskedForCanBeOwnedAndTheAnswerIsDropped() throws InterruptedException {
    switchOver(PostcopySpec.DEFAULT.withMaxRequests(1));
    AtomicReference<Object> read = new AtomicReference<>();
    Thread reader = reader(4, read);
    awaitRequests(1);
    byte[] whole = new byte[PAGE];
    java.util.Arrays.fill(whole, (byte) 'g');
    StepVerifier.create(guest.write(0, 4 * PAGE, whole)).verifyComplete();
    reader.join();
    assertThat(read.get()).isEqualTo('g');
    // It counts as asked for until the source's copy has come.
    Disposable next = guest.fetch(0, 5 * PAGE, 1).subscribe();
    assertThat(requests).containsExactly(4L);
    arrive(true, 'q', 4);
    assertThat(requests).containsExactly(4L, 5L);
    assertThat(at(4)).isEqualTo('g');
    arrive(true, (char) 0, 5);
    assertThat(next.isDisposed()).isTrue();
    assertThat(at(5)).isEqualTo((char) 0);
  }

  @Test
  void aWriteOfAPartFetchesFirst() throws InterruptedException {
    switchOver(PostcopySpec.DEFAULT);
    byte[] bytes = new byte[2 * PAGE];
    java.util.Arrays.fill(bytes, (byte) 'w');
    // The end of page 1, page 2 as a whole, the start of page 3.
    Thread writer =
        Thread.ofVirtual().start(() -> guest.write(0, PAGE + 100, MemorySegment.ofArray(bytes)));
    awaitRequests(1);
    assertThat(requests).containsExactly(1L);
    arrive(true, 'a', 1);
    awaitRequests(2);
    assertThat(requests).containsExactly(1L, 3L);
    assertThat(at(1)).isEqualTo('a');
    arrive(true, 'c', 3);
    writer.join();
    MemorySegment ram = memory.block(0).segment();
    assertThat(ram.get(ValueLayout.JAVA_BYTE, PAGE + 99)).isEqualTo((byte) 'a');
    assertThat(ram.asSlice(PAGE + 100, 2 * PAGE).toArray(ValueLayout.JAVA_BYTE))
        .containsOnly((byte) 'w');
    assertThat(ram.get(ValueLayout.JAVA_BYTE, 3 * PAGE + 100)).isEqualTo((byte) 'c');
    assertThat(absent.ownedPages()).isEqualTo(1);
  }

  @Test
  void noMoreIsAskedForThanWasAnnounced() {
    switchOver(PostcopySpec.DEFAULT.withMaxRequests(3));
    Disposable all = guest.fetch(0, 0, 20 * PAGE).subscribe();
    assertThat(requests).containsExactly(0L, 1L, 2L);
    arrive(true, 'a', 1);
    assertThat(requests).containsExactly(0L, 1L, 2L, 3L);
    for (long page = 0; page < 20; page++) {
      if (page != 1) {
        arrive(true, 'a', page);
      }
    }
    assertThat(all.isDisposed()).isTrue();
    assertThat(requests).hasSize(20);
  }

  @Test
  void whoGivesUpWhileWaitingForItsTurnIsNotAskedForUntilSomebodyElseIs() {
    switchOver(PostcopySpec.DEFAULT.withMaxRequests(1));
    Disposable first = guest.fetch(0, 0, 1).subscribe();
    Disposable second = guest.fetch(0, PAGE, 1).subscribe();
    Disposable third = guest.fetch(0, 2 * PAGE, 1).subscribe();
    second.dispose();
    arrive(true, 'a', 0);
    assertThat(first.isDisposed()).isTrue();
    assertThat(requests).containsExactly(0L, 2L);
    Disposable again = guest.fetch(0, PAGE, 1).subscribe();
    arrive(true, 'a', 2);
    assertThat(requests).containsExactly(0L, 2L, 1L);
    arrive(true, 'a', 1);
    assertThat(List.of(third.isDisposed(), again.isDisposed())).containsOnly(true);
  }

  @Test
  void aTimeIsLimitedAndNothingIsLeft() {
    VirtualTimeScheduler time = VirtualTimeScheduler.getOrSet();
    try {
      switchOver(PostcopySpec.DEFAULT.withFetchTimeout(Duration.ofSeconds(5)));
      StepVerifier.create(guest.fetch(0, 6 * PAGE, 1))
          .then(() -> time.advanceTimeBy(Duration.ofSeconds(6)))
          .verifyErrorSatisfies(
              e -> {
                assertThat(((MigrationException) e).kind()).isEqualTo(Kind.TIMEOUT);
                assertThat(e).hasMessageContaining("page 6 of block 'ram' did not come within");
              });
    } finally {
      VirtualTimeScheduler.reset();
    }
    assertThat(absent.waitedFor()).isZero();
  }

  @Test
  void aThreadThatWaitsIsToldAfterItsTimeAndMayTryAgain() {
    switchOver(PostcopySpec.DEFAULT.withFetchTimeout(Duration.ofMillis(1)));
    assertThatThrownBy(() -> guest.require(0, 0, 1))
        .isInstanceOfSatisfying(
            MigrationException.class, e -> assertThat(e.kind()).isEqualTo(Kind.TIMEOUT));
    arrive(true, 'a', 0);
    assertThat((char) (guest.getLong(0, 0) & 0xff)).isEqualTo('a');
  }

  @Test
  void aThreadThatMustNotBeBlockedIsNot() {
    switchOver(PostcopySpec.DEFAULT);
    StepVerifier.create(
            Mono.fromRunnable(() -> guest.require(0, 0, 1)).subscribeOn(Schedulers.parallel()))
        .verifyErrorSatisfies(
            e ->
                assertThat(e)
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining("use fetch()"));
  }

  @Test
  void anInterruptedThreadWaitsNoMore() throws InterruptedException {
    switchOver(PostcopySpec.DEFAULT);
    AtomicReference<Object> result = new AtomicReference<>();
    Thread reader = reader(1, result);
    awaitRequests(1);
    reader.interrupt();
    reader.join();
    assertThat(result.get())
        .isInstanceOfSatisfying(
            MigrationException.class, e -> assertThat(e.kind()).isEqualTo(Kind.CANCELLED));
    arrive(true, 'x', 1);
  }

  @Test
  void whenTheSourceIsLostThoseWhoWaitLearnOfItAndWhatIsHereStays() throws InterruptedException {
    switchOver(PostcopySpec.DEFAULT);
    arrive(false, 'a', 0);
    AtomicReference<Object> result = new AtomicReference<>();
    Thread reader = reader(1, result);
    awaitRequests(1);
    absent.disconnect(MigrationException.of(Kind.TRANSPORT, "the line is cut"));
    reader.join();
    assertThat(result.get())
        .isInstanceOfSatisfying(
            MigrationException.class,
            e -> {
              assertThat(e.kind()).isEqualTo(Kind.TRANSPORT);
              assertThat(e)
                  .hasMessageContaining("page 1 of block 'ram' is not here")
                  .hasMessageContaining("the line is cut");
            });
    guest.require(0, 0, PAGE);
    StepVerifier.create(guest.fetch(0, 2 * PAGE, 1))
        .verifyErrorSatisfies(e -> assertThat(e).hasMessageContaining("page 2"));
    byte[] whole = new byte[PAGE];
    guest.write(0, 2 * PAGE, MemorySegment.ofArray(whole));
    assertThat(guest.isHere(0, 2 * PAGE, PAGE)).isTrue();
  }

  @Test
  void orTheyWaitUntilItIsThereAgainAndAreAskedForAgain() throws InterruptedException {
    switchOver(PostcopySpec.DEFAULT.withOnSourceLost(SourceLost.WAIT));
    AtomicReference<Object> result = new AtomicReference<>();
    Thread reader = reader(1, result);
    awaitRequests(1);
    absent.disconnect(MigrationException.of(Kind.TRANSPORT, "the line is cut"));
    Disposable late = guest.fetch(0, 2 * PAGE, 1).subscribe();
    assertThat(requests).containsExactly(1L);
    absent.connect((block, page) -> requests.add(100 + page));
    assertThat(requests).containsExactly(1L, 101L, 102L);
    arrive(true, 'r', 1, 2);
    reader.join();
    assertThat(result.get()).isEqualTo('r');
    assertThat(late.isDisposed()).isTrue();
  }

  @Test
  void whileASourceIsAwaitedNobodyIsToldThatItIsLost() throws InterruptedException {
    switchOver(PostcopySpec.DEFAULT);
    AtomicReference<Object> before = new AtomicReference<>();
    AtomicReference<Object> after = new AtomicReference<>();
    Thread asked = reader(7, before);
    awaitRequests(1);
    absent.pause(MigrationException.of(Kind.TRANSPORT, "the line is cut"));
    Thread asksNow = reader(9, after);
    while (absent.waitedFor() < 2) {
      Thread.onSpinWait();
    }
    assertThat(requests).containsExactly(7L);
    absent.connect((block, page) -> requests.add(100 + page));
    awaitRequests(3);
    assertThat(requests).containsExactlyInAnyOrder(7L, 107L, 109L);
    arrive(true, 'p', 7, 9);
    asked.join();
    asksNow.join();
    assertThat(before).hasValue('p');
    assertThat(after).hasValue('p');
    assertThat(absent.requestedPages()).isEqualTo(3);
  }

  @Test
  void whenItIsAwaitedNoMoreTheyAre() throws InterruptedException {
    switchOver(PostcopySpec.DEFAULT);
    AtomicReference<Object> result = new AtomicReference<>();
    Thread reader = reader(7, result);
    awaitRequests(1);
    absent.pause(MigrationException.of(Kind.TRANSPORT, "the line is cut"));
    absent.disconnect(MigrationException.of(Kind.TIMEOUT, "it has not come back"));
    reader.join();
    assertThat((Throwable) result.get()).hasMessageContaining("it has not come back");
    assertThat(Objects.requireNonNull(absent.lost()).kind()).isEqualTo(Kind.TIMEOUT);
  }

  @Test
  void whatTheGuestHasWrittenMeanwhileIsNotAskedForAgain() throws InterruptedException {
    switchOver(PostcopySpec.DEFAULT.withMaxRequests(1));
    AtomicReference<Object> result = new AtomicReference<>();
    Thread reader = reader(7, result);
    awaitRequests(1);
    absent.pause(MigrationException.of(Kind.TRANSPORT, "the line is cut"));
    guest.write(0, 7 * PAGE, MemorySegment.ofArray(new byte[PAGE]));
    reader.join();
    assertThat(absent.missingPages().of(0).contains(7)).isFalse();
    assertThat(absent.missingPages().cardinality()).isEqualTo(PAGES - 1);
    assertThat(absent.ownedPages()).isEqualTo(1);
    absent.connect((block, page) -> requests.add(100 + page));
    Thread other = reader(8, result); // The one request that there may be is free again.
    awaitRequests(2);
    assertThat(requests).containsExactly(7L, 108L);
    arrive(true, 'p', 8);
    other.join();
    assertThat(absent.unanswered()).isZero();
  }

  @Test
  void aPageThatCannotBeWrittenStaysAbsentAndTheOnesBeforeItAreHere() throws Exception {
    switchOver(PostcopySpec.DEFAULT);
    Path file = Files.createTempFile("pageflux", ".ram");
    Files.delete(file); // It is made with its size.
    try (GuestMemory mapped =
        GuestMemory.builder().pageSize(PAGE).file("ram", file, PAGES * PAGE).build()) {
      absent = new AbsentPages(mapped, PostcopySpec.DEFAULT);
      absent.discard(0, 0, PAGES);
      try (FileChannel shortened = FileChannel.open(file, StandardOpenOption.WRITE)) {
        shortened.truncate(4096);
      }
      assertThatThrownBy(() -> arrive(false, 'p', 6, 7, 8, 9)).isInstanceOf(InternalError.class);
      assertThat(absent.missing()).isEqualTo(PAGES - 2);
      assertThat(absent.isPresent(0, 7)).isTrue();
      assertThat(absent.isPresent(0, 8)).isFalse();
      assertThat(absent.pushedPages()).isEqualTo(2);
    } finally {
      Files.delete(file);
    }
  }

  @Test
  void aPageOnDemandThatNobodyAskedForIsRefused() {
    switchOver(PostcopySpec.DEFAULT);
    assertThatThrownBy(() -> arrive(true, 'x', 5))
        .isInstanceOfSatisfying(
            MigrationException.class, e -> assertThat(e.kind()).isEqualTo(Kind.PROTOCOL))
        .hasMessageContaining("page 5 of block 'ram' was sent on demand, but nobody asked for it");
    assertThat(guest.isHere(0, 5 * PAGE, 1)).isFalse();
  }

  /** Many read and write while pages come by two ways: each sees what it wrote, or the source's. */
  @Test
  void randomReadersAndWritersWhilePagesArrive() throws Exception {
    long seed = System.nanoTime();
    for (int round = 0; round < 30; round++) {
      requests.clear();
      switchOver(PostcopySpec.DEFAULT.withMaxRequests(2));
      SplittableRandom random = new SplittableRandom(seed + round);
      List<CompletableFuture<Void>> guests = new ArrayList<>();
      for (int g = 0; g < 4; g++) {
        int number = g;
        SplittableRandom own = random.split();
        CompletableFuture<Void> done = new CompletableFuture<>();
        guests.add(done);
        Thread.ofPlatform()
            .start(
                () -> {
                  try {
                    beGuest(number, own);
                    done.complete(null);
                  } catch (Throwable e) {
                    done.completeExceptionally(e);
                  }
                });
      }
      Thread answers = Thread.ofPlatform().start(this::answerRequests);
      CountDownLatch pushed = new CountDownLatch(1);
      SplittableRandom order = random.split();
      Thread.ofPlatform()
          .start(
              () -> {
                // Half of the pages, as others are asked for.
                for (long page = order.nextInt(2); page < PAGES; page += 2) {
                  arrive(false, 'p', page);
                }
                pushed.countDown();
              });
      for (CompletableFuture<Void> each : guests) {
        try {
          each.get(20, TimeUnit.SECONDS);
        } catch (Exception e) {
          throw new AssertionError("seed " + seed + ", round " + round, e);
        }
      }
      assertThat(pushed.await(20, TimeUnit.SECONDS)).isTrue();
      while (absent.unanswered() > 0) {
        Thread.onSpinWait(); // the last answers
      }
      answers.interrupt();
      answers.join();
      assertThat(requests).as("seed %d", seed).doesNotHaveDuplicates();
    }
  }

  private void answerRequests() {
    int next = 0;
    while (!Thread.interrupted()) {
      if (next < requests.size()) {
        long page = requests.get(next++);
        try {
          arrive(true, 'p', page);
        } catch (MigrationException e) {
          // It was pushed in between.
        }
      } else {
        Thread.onSpinWait();
      }
    }
  }

  /** Each guest has the pages whose number it has modulo 4. */
  private void beGuest(int number, SplittableRandom random) {
    char[] expected = new char[PAGES];
    java.util.Arrays.fill(expected, 'p');
    for (int i = 0; i < 400; i++) {
      int page = random.nextInt(PAGES / 4) * 4 + number;
      byte[] bytes = new byte[PAGE];
      switch (random.nextInt(3)) {
        case 0 -> {
          expected[page] = (char) ('a' + random.nextInt(10));
          java.util.Arrays.fill(bytes, (byte) expected[page]);
          guest.write(0, (long) page * PAGE, MemorySegment.ofArray(bytes));
        }
        case 1 -> {
          guest.read(0, (long) page * PAGE, MemorySegment.ofArray(bytes));
          assertThat(bytes).as("page %d", page).containsOnly((byte) expected[page]);
        }
        default -> {
          byte[] read = Objects.requireNonNull(guest.read(0, (long) page * PAGE, PAGE).block());
          assertThat(read).as("page %d", page).containsOnly((byte) expected[page]);
        }
      }
    }
  }
}
