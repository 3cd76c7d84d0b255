package io.pageflux.examples.report;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/** Whether anybody is looking. */
public final class Terminal {

  private static final int STANDARD_ERROR = 2;

  private Terminal() {}

  /** {@return whether a line on standard error can be written over} */
  public static boolean canRewriteErrorLine() {
    String kind = System.getenv("TERM");
    return kind != null && !kind.equals("dumb") && isTerminal(STANDARD_ERROR);
  }

  /** {@return whether standard error may have colours: see no-color.org} */
  public static boolean mayColourErrorLine() {
    String noColour = System.getenv("NO_COLOR");
    return (noColour == null || noColour.isEmpty()) && canRewriteErrorLine();
  }

  // Since System.console() tells of standard input and output, but not of standard error.
  @SuppressWarnings("restricted")
  private static boolean isTerminal(int fd) {
    Linker linker = Linker.nativeLinker();
    return linker
        .defaultLookup()
        .find("isatty")
        .map(
            address -> {
              MethodHandle isatty =
                  linker.downcallHandle(
                      address, FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_INT));
              try {
                return (int) isatty.invokeExact(fd) == 1;
              } catch (Throwable e) {
                throw new IllegalStateException("isatty failed", e);
              }
            })
        .orElse(false);
  }
}
