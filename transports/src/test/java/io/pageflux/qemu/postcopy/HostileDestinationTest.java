package io.pageflux.qemu.postcopy;

import static io.pageflux.qemu.postcopy.LazyResumes.failure;
import static io.pageflux.qemu.postcopy.SyntheticCapture.PAGE;
import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.util.retry.Retry;

/** What a destination cannot mean is refused, and the reason given. */
class HostileDestinationTest {

  @TempDir private Path directory = Path.of("");

  private SyntheticCapture capture(int... pages) {
    return new SyntheticCapture(directory, 42, pages).write();
  }

  private PostcopySpec spec() {
    return PostcopySpec.of(directory).withRecovery(Retry.max(0));
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
}
