package io.pageflux.examples.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.util.concurrent.CompletionException;
import org.junit.jupiter.api.Test;
import reactor.core.Exceptions;

class FailuresTest {

  @Test
  void aFailureIsOneLineWithoutWrappings() {
    assertThat(
            Failures.describe(
                new CompletionException(
                    Exceptions.propagate(
                        new UncheckedIOException(new IOException("a\n  b\r\nc"))))))
        .isEqualTo("a; b; c");
    assertThat(
            Failures.describe(
                MigrationException.of(MigrationException.Kind.LAYOUT, "other blocks")))
        .isEqualTo("other blocks");
  }

  @Test
  void fileSystemFailuresSayWhatIsWrong() {
    assertThat(Failures.describe(new NoSuchFileException("x"))).isEqualTo("x does not exist");
    assertThat(Failures.describe(new AccessDeniedException("x"))).isEqualTo("x: permission denied");
    assertThat(Failures.describe(new FileSystemException("x", null, "No space left on device")))
        .isEqualTo("x: No space left on device");
  }

  @Test
  void aFaultOfTheProgramSaysSo() {
    assertThat(Failures.describe(new NullPointerException()))
        .isEqualTo("internal error: NullPointerException (--stacktrace shows where)");
  }
}
