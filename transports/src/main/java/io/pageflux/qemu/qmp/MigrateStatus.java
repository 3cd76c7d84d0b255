package io.pageflux.qemu.qmp;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Optional;

/**
 * What {@code query-migrate} says.
 *
 * @param status QEMU's name of it: {@code setup}, {@code active}, {@code completed}, {@code
 *     failed}, {@code cancelled} and others; {@code none} where there is no migration
 * @param errorDescription why it failed, where QEMU says so
 * @param info all that QEMU says; times are in milliseconds
 */
public record MigrateStatus(String status, Optional<String> errorDescription, JsonNode info) {

  static MigrateStatus of(JsonNode info) {
    return new MigrateStatus(
        info.path("status").asText("none"),
        Optional.ofNullable(info.path("error-desc").textValue()),
        info);
  }

  /** {@return whether nothing more comes of this migration} */
  public boolean isEnded() {
    return status.equals("completed") || status.equals("failed") || status.equals("cancelled");
  }

  /** {@return whether it ended well} */
  public boolean isCompleted() {
    return status.equals("completed");
  }

  @Override
  public String toString() {
    return errorDescription.map(why -> status + ": " + why).orElse(status);
  }
}
