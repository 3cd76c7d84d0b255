package io.pageflux.migration;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.VarHandle;

/** Signals to other processes that the JDK cannot send; numbers are Linux's. */
@SuppressWarnings("restricted") // There is no other way to the C library.
final class Signals {

  static final int SIGCONT = 18;
  static final int SIGSTOP = 19;

  private static final int EPERM = 1;
  private static final int ESRCH = 3;

  private static final StructLayout CAPTURED = Linker.Option.captureStateLayout();
  private static final VarHandle ERRNO =
      CAPTURED.varHandle(java.lang.foreign.MemoryLayout.PathElement.groupElement("errno"));
  private static final MethodHandle KILL =
      Linker.nativeLinker()
          .downcallHandle(
              Linker.nativeLinker().defaultLookup().findOrThrow("kill"),
              FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT),
              Linker.Option.captureCallState("errno"));

  private Signals() {}

  /** Sends a signal. {@return 0, or the error's number} */
  static int kill(long pid, int signal) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment captured = arena.allocate(CAPTURED);
      int result = (int) KILL.invokeExact(captured, Math.toIntExact(pid), signal);
      return result == 0 ? 0 : (int) ERRNO.get(captured, 0L);
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }

  /** {@return what an error means} */
  static String text(int error) {
    return switch (error) {
      case EPERM -> "operation not permitted (EPERM)";
      case ESRCH -> "no such process (ESRCH)";
      default -> "error " + error;
    };
  }
}
