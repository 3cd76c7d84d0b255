package io.pageflux.internal;

/** A system call failed. */
public final class ErrnoException extends RuntimeException {

  private static final long serialVersionUID = 1L;

  private final int errno;

  ErrnoException(String call, int errno) {
    super(call + ": " + name(errno));
    this.errno = errno;
  }

  /** {@return the error number} */
  public int errno() {
    return errno;
  }

  private static String name(int errno) {
    return switch (errno) {
      case 1 -> "operation not permitted (EPERM)";
      case 2 -> "no such file or directory (ENOENT)";
      case 9 -> "bad file descriptor (EBADF)";
      case 12 -> "out of memory (ENOMEM)";
      case 13 -> "permission denied (EACCES)";
      case 14 -> "bad address (EFAULT)";
      case 16 -> "device or resource busy (EBUSY)";
      case 19 -> "no such device (ENODEV)";
      case 22 -> "invalid argument (EINVAL)";
      case 25 -> "inappropriate ioctl for device (ENOTTY)";
      case 27 -> "file too large (EFBIG)";
      case 28 -> "no space left on device (ENOSPC)";
      case 38 -> "function not implemented (ENOSYS)";
      default -> "errno " + errno;
    };
  }
}
