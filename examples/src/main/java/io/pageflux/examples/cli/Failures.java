package io.pageflux.examples.cli;

import io.pageflux.MigrationException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import reactor.core.Exceptions;

/** Turns a failure into one line for people. */
public final class Failures {

  private Failures() {}

  /** {@return what lies inside the wrappings of Reactor and of futures} */
  public static Throwable unwrap(Throwable failure) {
    Throwable inner = Exceptions.unwrap(failure);
    while ((inner instanceof UncheckedIOException
            || inner instanceof CompletionException
            || inner instanceof ExecutionException)
        && inner.getCause() != null) {
      inner = Exceptions.unwrap(inner.getCause());
    }
    return inner;
  }

  /** {@return the failure in one line, without the program's name} */
  public static String describe(Throwable failure) {
    return oneLine(message(unwrap(failure)));
  }

  private static String message(Throwable failure) {
    String message = failure.getMessage();
    return switch (failure) {
      case NoSuchFileException e -> e.getFile() + " does not exist";
      case AccessDeniedException e -> e.getFile() + ": permission denied";
      case FileSystemException e when e.getReason() != null ->
          (e.getFile() == null ? "" : e.getFile() + ": ") + e.getReason();
      case MigrationException e when message != null -> message;
      case CliException e when message != null -> message;
      case IOException e when message != null -> message;
      case IllegalArgumentException e when message != null -> message;
      case OutOfMemoryError e ->
          "out of memory (%s): give more with PAGEFLUX_JAVA_OPTS, such as -Xmx1g"
              .formatted(message);
      default ->
          "internal error: %s%s (--stacktrace shows where)"
              .formatted(failure.getClass().getSimpleName(), message == null ? "" : ": " + message);
    };
  }

  /** {@return a text without line breaks} */
  public static String oneLine(String text) {
    return text.strip().replaceAll("\\s*[\\r\\n]+\\s*", "; ");
  }
}
