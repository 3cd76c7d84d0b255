package io.pageflux.qemu.testing;

import io.pageflux.MigrationException;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.junit.jupiter.api.extension.ConditionEvaluationResult;
import org.junit.jupiter.api.extension.ExecutionCondition;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * A test that needs a QEMU that can be the destination of a post-copy, for which its user must be
 * allowed to use userfaultfd. It is skipped without; but with the environment variable {@code
 * PAGEFLUX_REQUIRE_QEMU=1} it fails.
 */
@Target({ElementType.TYPE, ElementType.METHOD})
@Retention(RetentionPolicy.RUNTIME)
@RequiresQemu
@ExtendWith(RequiresPostcopy.Condition.class)
public @interface RequiresPostcopy {

  /** Tries it. */
  final class Condition implements ExecutionCondition {

    @Override
    public ConditionEvaluationResult evaluateExecutionCondition(ExtensionContext context) {
      if (new RequiresQemu.Condition().evaluateExecutionCondition(context).isDisabled()) {
        return ConditionEvaluationResult.disabled("there is no QEMU");
      }
      String refused = Holder.REFUSED;
      if (refused.isEmpty()) {
        return ConditionEvaluationResult.enabled("QEMU takes the capability postcopy-ram");
      }
      String message =
          "QEMU refuses the capability postcopy-ram (sysctl vm.unprivileged_userfaultfd=1, or"
              + " root): "
              + refused;
      if ("1".equals(System.getenv("PAGEFLUX_REQUIRE_QEMU"))) {
        throw new IllegalStateException(message);
      }
      return ConditionEvaluationResult.disabled(message);
    }

    /** Tried once. */
    private static final class Holder {
      static final String REFUSED = tryIt();

      private static String tryIt() {
        try (QemuProcess qemu = QemuProcess.builder().with("-S", "-incoming", "defer").start()) {
          qemu.commands().setCapability("postcopy-ram", true).block(QemuProcess.PATIENCE);
          return "";
        } catch (MigrationException e) {
          return String.valueOf(e.getMessage());
        }
      }
    }
  }
}
