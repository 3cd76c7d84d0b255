package io.pageflux.qemu.testing;

import java.io.File;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import java.util.Arrays;
import org.junit.jupiter.api.extension.ConditionEvaluationResult;
import org.junit.jupiter.api.extension.ExecutionCondition;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * A test that needs {@value QemuProcess#PROGRAM} in the PATH. It is skipped without; but with the
 * environment variable {@code PAGEFLUX_REQUIRE_QEMU=1} it fails.
 */
@Target({ElementType.TYPE, ElementType.METHOD})
@Retention(RetentionPolicy.RUNTIME)
@ExtendWith(RequiresQemu.Condition.class)
public @interface RequiresQemu {

  /** Looks for QEMU. */
  final class Condition implements ExecutionCondition {

    @Override
    public ConditionEvaluationResult evaluateExecutionCondition(ExtensionContext context) {
      String path = System.getenv().getOrDefault("PATH", "");
      boolean found =
          Arrays.stream(path.split(File.pathSeparator))
              .anyMatch(directory -> new File(directory, QemuProcess.PROGRAM).canExecute());
      if (found) {
        return ConditionEvaluationResult.enabled("QEMU is there");
      }
      String missing =
          QemuProcess.PROGRAM + " is not in the PATH; install it (Debian: qemu-system-x86)";
      if ("1".equals(System.getenv("PAGEFLUX_REQUIRE_QEMU"))) {
        throw new IllegalStateException(missing + "; PAGEFLUX_REQUIRE_QEMU=1 demands it");
      }
      return ConditionEvaluationResult.disabled(missing);
    }
  }
}
