package io.pageflux.qemu.testing;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.extension.ConditionEvaluationResult;
import org.junit.jupiter.api.extension.ExecutionCondition;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * A test that needs the Linux guest, which {@code .ci/linux-guest} makes in the directory that the
 * environment variable {@value #DIRECTORY} names.
 *
 * <p>Without it the test is skipped with a message, but fails if {@code PAGEFLUX_REQUIRE_QEMU} is
 * 1. It needs QEMU too, so it carries {@link RequiresQemu} as well.
 */
@Target({ElementType.TYPE, ElementType.METHOD})
@Retention(RetentionPolicy.RUNTIME)
@ExtendWith(RequiresLinuxGuest.Condition.class)
public @interface RequiresLinuxGuest {

  /** The environment variable that names the directory of vmlinuz and initrd. */
  String DIRECTORY = "PAGEFLUX_LINUX_GUEST";

  /** Looks for the guest's two files. */
  final class Condition implements ExecutionCondition {

    @Override
    public ConditionEvaluationResult evaluateExecutionCondition(ExtensionContext context) {
      String directory = System.getenv(DIRECTORY);
      if (directory != null
          && Files.isReadable(Path.of(directory, "vmlinuz"))
          && Files.isReadable(Path.of(directory, "initrd"))) {
        return ConditionEvaluationResult.enabled("the Linux guest is in " + directory);
      }
      String message =
          directory == null
              ? "no Linux guest: .ci/linux-guest makes it, and " + DIRECTORY + " is to name it"
              : DIRECTORY + " names " + directory + ", which lacks vmlinuz or initrd";
      if ("1".equals(System.getenv("PAGEFLUX_REQUIRE_QEMU"))) {
        throw new IllegalStateException(message);
      }
      return ConditionEvaluationResult.disabled(message);
    }
  }
}
