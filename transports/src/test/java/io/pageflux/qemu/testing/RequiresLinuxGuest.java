package io.pageflux.qemu.testing;

import java.io.File;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.extension.ConditionEvaluationResult;
import org.junit.jupiter.api.extension.ExecutionCondition;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * A test that needs QEMU, and the Linux guest that {@code .ci/linux-guest} makes, in the directory
 * that it makes it in or that the environment variable {@value #DIRECTORY} names.
 *
 * <p>Without them the test is skipped with a message, but fails if {@code PAGEFLUX_REQUIRE_QEMU} is
 * 1.
 */
@Target({ElementType.TYPE, ElementType.METHOD})
@Retention(RetentionPolicy.RUNTIME)
@ExtendWith(RequiresLinuxGuest.Condition.class)
public @interface RequiresLinuxGuest {

  /** The environment variable that names another directory of vmlinuz and initrd. */
  String DIRECTORY = "PAGEFLUX_LINUX_GUEST";

  /** Looks for the guest's two files. */
  final class Condition implements ExecutionCondition {

    @Override
    public ConditionEvaluationResult evaluateExecutionCondition(ExtensionContext context) {
      Path directory = LinuxGuest.directory();
      String message;
      if (!Files.isReadable(directory.resolve("vmlinuz"))
          || !Files.isReadable(directory.resolve("initrd"))) {
        message =
            "no Linux guest: %s lacks vmlinuz or initrd; make them with: .ci/linux-guest %s"
                .formatted(directory, directory);
      } else if (!isOnPath("qemu-system-x86_64")) {
        message = "qemu-system-x86_64 is not installed";
      } else {
        return ConditionEvaluationResult.enabled("the Linux guest is in " + directory);
      }
      if ("1".equals(System.getenv("PAGEFLUX_REQUIRE_QEMU"))) {
        throw new IllegalStateException(message);
      }
      return ConditionEvaluationResult.disabled(message);
    }

    private static boolean isOnPath(String program) {
      String path = System.getenv("PATH");
      return path != null
          && Stream.of(path.split(File.pathSeparator))
              .anyMatch(directory -> Files.isExecutable(Path.of(directory, program)));
    }
  }
}
