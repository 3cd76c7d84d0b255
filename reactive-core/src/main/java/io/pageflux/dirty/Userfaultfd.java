package io.pageflux.dirty;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.internal.ErrnoException;
import io.pageflux.internal.Linux;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * A userfaultfd in asynchronous write-protect mode: the kernel itself resolves a write to a
 * protected page and notes it in the page table, so no thread ever waits for a fault handler.
 *
 * <p>Constants and layouts are those of {@code linux/userfaultfd.h}.
 */
final class Userfaultfd implements AutoCloseable {

  // Faults of the kernel on our behalf, as in read(2) into guest memory, would need a privilege if
  // they had to be handled by us. Asynchronous mode hands us none, and still notes such writes.
  private static final int USER_MODE_ONLY = 1;
  private static final int FLAGS = Linux.O_CLOEXEC | Linux.O_NONBLOCK | USER_MODE_ONLY;

  private static final long USERFAULTFD_IOC_NEW = 0xAA00L;
  private static final long UFFDIO_API = 0xC018AA3FL;
  private static final long UFFDIO_REGISTER = 0xC020AA00L;
  private static final long UFFDIO_UNREGISTER = 0x8010AA01L;

  private static final long API_VERSION = 0xAA;
  private static final long FEATURE_WP_ASYNC = 1L << 15;
  private static final long MODE_WP = 2;

  private static final int EINVAL = 22;
  private static final int EBUSY = 16;

  private final int fd;

  private Userfaultfd(int fd) {
    this.fd = fd;
  }

  /**
   * Opens one, by the system call or, where that is refused, by {@code /dev/userfaultfd}.
   *
   * @throws MigrationException of kind {@code TRACKING} if neither is to be had, or the kernel
   *     knows no asynchronous mode
   */
  static Userfaultfd open() {
    Userfaultfd opened = new Userfaultfd(descriptor());
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment api = arena.allocate(24, 8);
      api.set(JAVA_LONG, 0, API_VERSION);
      api.set(JAVA_LONG, 8, FEATURE_WP_ASYNC);
      Linux.ioctl(opened.fd, UFFDIO_API, api, "UFFDIO_API");
      if ((api.get(JAVA_LONG, 8) & FEATURE_WP_ASYNC) == 0) {
        throw tooOld();
      }
      return opened;
    } catch (ErrnoException e) {
      opened.close();
      throw e.errno() == EINVAL ? tooOld() : refused(String.valueOf(e.getMessage()), e);
    } catch (RuntimeException | Error e) {
      opened.close();
      throw e;
    }
  }

  private static int descriptor() {
    try {
      return Linux.userfaultfd(FLAGS);
    } catch (ErrnoException bySyscall) {
      try {
        int device = Linux.open("/dev/userfaultfd", Linux.O_RDWR | Linux.O_CLOEXEC);
        try {
          return Linux.ioctl(device, USERFAULTFD_IOC_NEW, FLAGS, "USERFAULTFD_IOC_NEW");
        } finally {
          Linux.close(device);
        }
      } catch (ErrnoException byDevice) {
        bySyscall.addSuppressed(byDevice);
        throw refused(bySyscall.getMessage() + "; " + byDevice.getMessage(), bySyscall);
      }
    }
  }

  private static MigrationException refused(String why, ErrnoException cause) {
    return MigrationException.of(
        Kind.TRACKING,
        "userfaultfd refused: "
            + why
            + " (let the container's seccomp profile pass userfaultfd, or track by comparing)",
        cause);
  }

  private static MigrationException tooOld() {
    return MigrationException.of(
        Kind.TRACKING,
        "the kernel's userfaultfd has no asynchronous write protection: Linux 6.7 or later is"
            + " needed, or track by comparing");
  }

  /**
   * Registers a range of this process's memory; it is not protected by that yet.
   *
   * @param start address, a multiple of the machine's page size
   * @param bytes length, a multiple of the machine's page size
   * @param what names the range in an error
   */
  void register(long start, long bytes, String what) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment argument = arena.allocate(32, 8);
      argument.set(JAVA_LONG, 0, start);
      argument.set(JAVA_LONG, 8, bytes);
      argument.set(JAVA_LONG, 16, MODE_WP);
      Linux.ioctl(fd, UFFDIO_REGISTER, argument, "UFFDIO_REGISTER");
    } catch (ErrnoException e) {
      String why =
          switch (e.errno()) {
            case EBUSY ->
                "it is being tracked by userfaultfd already, and the kernel allows that once:"
                    + " close the other tracker first";
            case EINVAL -> "this kind of mapping cannot be write-protected: track by comparing";
            default -> e.getMessage();
          };
      throw MigrationException.of(Kind.TRACKING, "cannot watch " + what + ": " + why, e);
    }
  }

  /** Unregisters a range, if it is registered. */
  void unregister(long start, long bytes) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment argument = arena.allocate(16, 8);
      argument.set(JAVA_LONG, 0, start);
      argument.set(JAVA_LONG, 8, bytes);
      Linux.ioctl(fd, UFFDIO_UNREGISTER, argument, "UFFDIO_UNREGISTER");
    } catch (ErrnoException e) {
      // It was not registered, or is no longer mapped: there is nothing to undo.
    }
  }

  /** Closes the descriptor; the kernel unregisters whatever is still registered. */
  @Override
  public void close() {
    Linux.close(fd);
  }
}
