package io.pageflux.examples.fault;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.jspecify.annotations.Nullable;

/**
 * A guest holds it while it runs, so that a second one is noticed at once: a lock of a file, which
 * the kernel takes from a process that dies.
 */
final class RunLock {

  /** What is said of a second guest. */
  static final String TWICE = "THE GUEST RUNS TWICE";

  private final Path file;
  private @Nullable FileChannel held;

  RunLock(Path file) {
    this.file = file;
  }

  /** Takes it. Does nothing if this object has it. */
  synchronized void take() {
    if (held != null) {
      return;
    }
    try {
      FileChannel channel =
          FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
      boolean taken = false;
      try {
        taken = channel.tryLock() != null;
      } catch (OverlappingFileLockException e) {
        // Another guest of this process has it.
      } finally {
        if (taken) {
          held = channel;
        } else {
          channel.close();
        }
      }
      if (!taken) {
        throw new IllegalStateException(TWICE);
      }
    } catch (IOException e) {
      throw new IllegalStateException("cannot lock " + file + ": " + e.getMessage(), e);
    }
  }

  /** Gives it back. */
  synchronized void release() {
    FileChannel channel = held;
    held = null;
    if (channel != null) {
      try {
        channel.close();
      } catch (IOException e) {
        throw new IllegalStateException("cannot unlock " + file + ": " + e.getMessage(), e);
      }
    }
  }
}
