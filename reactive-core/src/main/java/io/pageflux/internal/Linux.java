package io.pageflux.internal;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.VarHandle;
import java.util.OptionalLong;

/**
 * The few system calls that the JDK has no method for, by way of the C library.
 *
 * <p>Constants are those of Linux on x86-64 and AArch64 where they are the same, which is
 * everywhere but for the numbers of system calls.
 */
@SuppressWarnings("restricted") // Native access is what this class is for; it is the only one.
public final class Linux {

  /** {@code O_RDONLY}. */
  public static final int O_RDONLY = 0;

  /** {@code O_RDWR}. */
  public static final int O_RDWR = 2;

  /** {@code O_NONBLOCK}. */
  public static final int O_NONBLOCK = 0x800;

  /** {@code O_CLOEXEC}. */
  public static final int O_CLOEXEC = 0x80000;

  /** {@code O_PATH}: a handle of the file itself, without opening it. */
  public static final int O_PATH = 0x200000;

  /** {@code F_SEAL_SHRINK}: the memory file cannot be cut short any more. */
  public static final int F_SEAL_SHRINK = 2;

  private static final int F_SEAL_SEAL = 1;
  private static final int F_SEAL_GROW = 4;
  private static final int F_ADD_SEALS = 1033;
  private static final int F_GET_SEALS = 1034;
  private static final int MFD_CLOEXEC = 1;
  private static final int MFD_ALLOW_SEALING = 2;
  private static final int MADV_DONTNEED = 4;
  private static final int MADV_REMOVE = 9;
  private static final int IPPROTO_TCP = 6;
  private static final int TCP_INFO = 11;
  private static final int TCP_INFO_BYTES = 184;
  private static final int TCPI_BUSY_TIME = 168; // u64, microseconds; since Linux 4.10
  private static final int TCPI_RWND_LIMITED = 176; // of it, the time when the peer took no more

  /** {@code PROT_READ | PROT_WRITE}. */
  public static final int PROT_READ_WRITE = 3;

  /** {@code MAP_SHARED}. */
  public static final int MAP_SHARED = 1;

  /** {@code MAP_PRIVATE}. */
  public static final int MAP_PRIVATE = 2;

  /** {@code MAP_ANONYMOUS}. */
  public static final int MAP_ANONYMOUS = 0x20;

  /** {@code MAP_NORESERVE}: a guest may be larger than what the machine could back at once. */
  public static final int MAP_NORESERVE = 0x4000;

  private static final Linker LINKER = Linker.nativeLinker();
  private static final StructLayout CAPTURED = Linker.Option.captureStateLayout();
  private static final VarHandle ERRNO =
      CAPTURED.varHandle(MemoryLayout.PathElement.groupElement("errno"));

  private static final MethodHandle MMAP =
      handle(
          "mmap",
          FunctionDescriptor.of(
              JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_LONG));
  private static final MethodHandle MUNMAP =
      handle("munmap", FunctionDescriptor.of(JAVA_INT, JAVA_LONG, JAVA_LONG));
  private static final MethodHandle MADVISE =
      handle("madvise", FunctionDescriptor.of(JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_INT));
  private static final MethodHandle MEMFD_CREATE =
      handle("memfd_create", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT));
  private static final MethodHandle FTRUNCATE =
      handle("ftruncate", FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_LONG));
  private static final MethodHandle OPEN =
      handle(
          "open",
          FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT),
          Linker.Option.firstVariadicArg(2));
  private static final MethodHandle FCNTL =
      handle(
          "fcntl",
          FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT),
          Linker.Option.firstVariadicArg(2));
  private static final MethodHandle CLOSE =
      handle("close", FunctionDescriptor.of(JAVA_INT, JAVA_INT));
  private static final MethodHandle IOCTL =
      handle(
          "ioctl",
          FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_LONG, ADDRESS),
          Linker.Option.firstVariadicArg(2));
  private static final MethodHandle IOCTL_VALUE =
      handle(
          "ioctl",
          FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG),
          Linker.Option.firstVariadicArg(2));
  private static final MethodHandle SYSCALL =
      handle(
          "syscall",
          FunctionDescriptor.of(JAVA_LONG, JAVA_LONG, JAVA_LONG),
          Linker.Option.firstVariadicArg(1));
  private static final MethodHandle GETSOCKOPT =
      handle(
          "getsockopt",
          FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, ADDRESS, ADDRESS));
  private static final MethodHandle GETPAGESIZE =
      handle("getpagesize", FunctionDescriptor.of(JAVA_INT));

  private Linux() {}

  private static MethodHandle handle(
      String name, FunctionDescriptor descriptor, Linker.Option... options) {
    Linker.Option[] all = new Linker.Option[options.length + 1];
    System.arraycopy(options, 0, all, 0, options.length);
    all[options.length] = Linker.Option.captureCallState("errno");
    return LINKER.downcallHandle(
        LINKER
            .defaultLookup()
            .find(name)
            .orElseThrow(() -> new UnsupportedOperationException("no '" + name + "' in libc")),
        descriptor,
        all);
  }

  /** A call's result, and its {@code errno} if it failed. */
  private record Result(long value, int errno) {
    long orThrow(String call) {
      if (value == -1) {
        throw new ErrnoException(call, errno);
      }
      return value;
    }
  }

  @FunctionalInterface
  private interface Call {
    long invoke(MemorySegment captured) throws Throwable;
  }

  private static Result call(Call call) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment captured = arena.allocate(CAPTURED);
      long value = call.invoke(captured);
      return new Result(value, value == -1 ? (int) ERRNO.get(captured, 0L) : 0);
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }

  /** Maps anonymous, private, zero memory that is unmapped when the arena closes. */
  public static MemorySegment mapAnonymous(long bytes, Arena arena) {
    return map(bytes, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, arena);
  }

  /** Maps the start of a file, shared, and unmaps it when the arena closes. */
  public static MemorySegment mapShared(int fd, long bytes, Arena arena) {
    return map(bytes, MAP_SHARED, fd, arena);
  }

  private static MemorySegment map(long bytes, int flags, int fd, Arena arena) {
    long address =
        call(c -> (long) MMAP.invokeExact(c, 0L, bytes, PROT_READ_WRITE, flags, fd, 0L))
            .orThrow("mmap of " + bytes + " bytes");
    return MemorySegment.ofAddress(address)
        .reinterpret(
            bytes,
            arena,
            mapped -> call(c -> (int) MUNMAP.invokeExact(c, mapped.address(), bytes)));
  }

  /** Calls {@code madvise} on a page-aligned segment. */
  public static void madvise(MemorySegment segment, int advice) {
    call(c -> (int) MADVISE.invokeExact(c, segment.address(), segment.byteSize(), advice))
        .orThrow("madvise");
  }

  /** Gives back the pages of private memory; it reads as zeros then. */
  public static void releasePrivate(MemorySegment segment) {
    madvise(segment, MADV_DONTNEED);
  }

  /** Gives back the pages of a memory file, for all who map it; they read as zeros then. */
  public static void releaseShared(MemorySegment segment) {
    madvise(segment, MADV_REMOVE);
  }

  /**
   * {@return for how many nanoseconds a TCP socket had something to send or to have confirmed by
   * the peer, without those in which the peer took no more; empty if the system does not say}
   *
   * <p>Source: Linux, {@code struct tcp_info} in {@code include/uapi/linux/tcp.h}.
   */
  public static OptionalLong tcpSendBusyNanos(int fd) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment info = arena.allocate(TCP_INFO_BYTES, Long.BYTES);
      MemorySegment bytes = arena.allocateFrom(JAVA_INT, TCP_INFO_BYTES);
      Result result =
          call(c -> (int) GETSOCKOPT.invokeExact(c, fd, IPPROTO_TCP, TCP_INFO, info, bytes));
      if (result.value() != 0 || bytes.get(JAVA_INT, 0) < TCP_INFO_BYTES) {
        return OptionalLong.empty();
      }
      long micros = info.get(JAVA_LONG, TCPI_BUSY_TIME) - info.get(JAVA_LONG, TCPI_RWND_LIMITED);
      return OptionalLong.of(1000 * micros);
    }
  }

  /** Makes an anonymous memory file of a size. {@return its descriptor} */
  public static int memfd(String name, long bytes) {
    return memfd(name, bytes, MFD_CLOEXEC);
  }

  /**
   * Makes an anonymous memory file that keeps its size for good: whoever maps it within that size
   * is safe from {@code SIGBUS} by a file that was cut short. {@return its descriptor}
   */
  public static int sealedMemfd(String name, long bytes) {
    int fd = memfd(name, bytes, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    try {
      fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, "F_ADD_SEALS");
      return fd;
    } catch (ErrnoException e) {
      close(fd);
      throw e;
    }
  }

  /** {@return the seals of a memory file} */
  public static int seals(int fd) {
    return fcntl(fd, F_GET_SEALS, 0, "F_GET_SEALS");
  }

  private static int fcntl(int fd, int command, int argument, String what) {
    return (int)
        call(c -> (int) FCNTL.invokeExact(c, fd, command, argument)).orThrow("fcntl " + what);
  }

  /** Has a descriptor closed when an arena closes. */
  public static void closeWith(Arena arena, int fd) {
    MemorySegment.ofAddress(1).reinterpret(1, arena, closing -> close(fd));
  }

  private static int memfd(String name, long bytes, int flags) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment cName = arena.allocateFrom(name);
      int fd =
          (int) call(c -> (int) MEMFD_CREATE.invokeExact(c, cName, flags)).orThrow("memfd_create");
      try {
        call(c -> (int) FTRUNCATE.invokeExact(c, fd, bytes))
            .orThrow("ftruncate of a memfd to " + bytes + " bytes");
      } catch (ErrnoException e) {
        close(fd);
        throw e;
      }
      return fd;
    }
  }

  /** Opens an existing file. {@return its descriptor} */
  public static int open(String path, int flags) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment cPath = arena.allocateFrom(path);
      return (int) call(c -> (int) OPEN.invokeExact(c, cPath, flags)).orThrow("open of " + path);
    }
  }

  /** Closes a descriptor; an error is of no use to anybody. */
  public static void close(int fd) {
    call(c -> (int) CLOSE.invokeExact(c, fd));
  }

  /** Calls {@code ioctl} with a struct. {@return its non-negative result} */
  public static int ioctl(int fd, long request, MemorySegment argument, String what) {
    return (int)
        call(c -> (int) IOCTL.invokeExact(c, fd, request, argument)).orThrow("ioctl " + what);
  }

  /** Calls {@code ioctl} with a number. {@return its non-negative result} */
  public static int ioctl(int fd, long request, long argument, String what) {
    return (int)
        call(c -> (int) IOCTL_VALUE.invokeExact(c, fd, request, argument)).orThrow("ioctl " + what);
  }

  /** {@return the size of a page of this machine's memory management in bytes} */
  public static int pageSizeBytes() {
    return (int) call(c -> (int) GETPAGESIZE.invokeExact(c)).orThrow("getpagesize");
  }

  /**
   * Makes a {@code userfaultfd}. {@return its descriptor}
   *
   * @throws ErrnoException also, as {@code ENOSYS}, on a machine whose number of this system call
   *     is not known here
   */
  public static int userfaultfd(int flags) {
    long number =
        switch (System.getProperty("os.arch")) {
          case "amd64", "x86_64" -> 323;
          case "aarch64" -> 282;
          default -> throw new ErrnoException("userfaultfd", 38);
        };
    return (int) syscall(number, flags, "userfaultfd");
  }

  /** Makes a system call with one argument. {@return its non-negative result} */
  public static long syscall(long number, long argument, String what) {
    return call(c -> (long) SYSCALL.invokeExact(c, number, argument)).orThrow(what);
  }
}
