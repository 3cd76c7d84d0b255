package io.pageflux.qemu.postcopy;

import static io.pageflux.qemu.postcopy.SyntheticCapture.PAGE;
import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import java.time.Duration;
import java.util.Arrays;
import java.util.Objects;

/** Lazy resumes of a test. */
final class LazyResumes {

  static final Duration PATIENCE = Duration.ofSeconds(60);

  private LazyResumes() {}

  static PostcopyInfo resume(PostcopySpec spec, FakeDestination destination) {
    return Objects.requireNonNull(QemuPostcopy.resume(spec, destination).blockLast(PATIENCE));
  }

  static MigrationException failure(PostcopySpec spec, FakeDestination destination) {
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

  static void assertHas(SyntheticCapture capture, FakeDestination destination) {
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
}
