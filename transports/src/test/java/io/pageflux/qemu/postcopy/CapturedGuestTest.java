package io.pageflux.qemu.postcopy;

import static io.pageflux.qemu.postcopy.LazyResumes.failure;
import static io.pageflux.qemu.postcopy.LazyResumes.resume;
import static io.pageflux.qemu.postcopy.SyntheticCapture.PAGE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import reactor.util.retry.Retry;

/** A capture that is damaged, or does not fit, is refused before anything is said. */
class CapturedGuestTest {

  @TempDir private Path directory = Path.of("");

  private SyntheticCapture capture(int... pages) {
    return new SyntheticCapture(directory, 42, pages).write();
  }

  private PostcopySpec spec() {
    return PostcopySpec.of(directory).withRecovery(Retry.max(0));
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
