package io.pageflux.dirty;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.concurrent.Callable;
import java.util.concurrent.FutureTask;

/**
 * Runs something on a thread to which the kernel refuses userfaultfd, as a container's profile
 * does: a seccomp filter, which is a thread's own and dies with it.
 */
@SuppressWarnings("restricted")
final class Seccomp {

  private static final int PR_SET_NO_NEW_PRIVS = 38;
  private static final int PR_SET_SECCOMP = 22;
  private static final int SECCOMP_MODE_FILTER = 2;
  private static final int RETURN_EPERM = 0x0005_0001;
  private static final int RETURN_ALLOW = 0x7fff_0000;

  private static final short LOAD = 0x20;
  private static final short JUMP_IF_EQUAL = 0x15;
  private static final short RETURN = 0x06;

  private static final int NUMBER = 0; // offsets in seccomp_data; the machine is little-endian
  private static final int SECOND_ARGUMENT = 24;
  private static final int USERFAULTFD_IOC_NEW = 0xAA00;

  private Seccomp() {}

  static <T> T withoutUserfaultfd(Callable<T> action) throws Exception {
    FutureTask<T> task =
        new FutureTask<>(
            () -> {
              refuseUserfaultfd();
              return action.call();
            });
    Thread thread = Thread.ofPlatform().start(task);
    thread.join();
    return task.get();
  }

  private static void refuseUserfaultfd() throws Exception {
    boolean arm = System.getProperty("os.arch").equals("aarch64");
    int userfaultfd = arm ? 282 : 323;
    int ioctl = arm ? 29 : 16;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment filter = arena.allocate(7 * 8L, 8);
      instruction(filter, 0, LOAD, 0, 0, NUMBER);
      instruction(filter, 1, JUMP_IF_EQUAL, 3, 0, userfaultfd);
      instruction(filter, 2, JUMP_IF_EQUAL, 0, 3, ioctl);
      instruction(filter, 3, LOAD, 0, 0, SECOND_ARGUMENT);
      instruction(filter, 4, JUMP_IF_EQUAL, 0, 1, USERFAULTFD_IOC_NEW);
      instruction(filter, 5, RETURN, 0, 0, RETURN_EPERM);
      instruction(filter, 6, RETURN, 0, 0, RETURN_ALLOW);
      MemorySegment program = arena.allocate(16, 8);
      program.set(JAVA_SHORT, 0, (short) 7);
      program.set(ADDRESS, 8, filter);
      prctl(PR_SET_NO_NEW_PRIVS, 1, MemorySegment.NULL);
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program);
    }
  }

  private static void instruction(
      MemorySegment filter, long index, short code, int ifTrue, int ifFalse, int operand) {
    filter.set(JAVA_SHORT, index * 8, code);
    filter.set(JAVA_BYTE, index * 8 + 2, (byte) ifTrue);
    filter.set(JAVA_BYTE, index * 8 + 3, (byte) ifFalse);
    filter.set(JAVA_INT, index * 8 + 4, operand);
  }

  private static void prctl(int option, long second, MemorySegment third) throws Exception {
    Linker linker = Linker.nativeLinker();
    MethodHandle prctl =
        linker.downcallHandle(
            linker.defaultLookup().find("prctl").orElseThrow(),
            FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_LONG, ADDRESS, JAVA_LONG, JAVA_LONG),
            Linker.Option.firstVariadicArg(1));
    int result;
    try {
      result = (int) prctl.invokeExact(option, second, third, 0L, 0L);
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
    if (result != 0) {
      throw new IllegalStateException("prctl " + option + " failed");
    }
  }
}
