package io.pageflux.qemu.qmp;

import static io.pageflux.qemu.qmp.ScriptedQmp.GREETING;
import static io.pageflux.qemu.qmp.ScriptedQmp.NEGOTIATED;
import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.qemu.qmp.ScriptedQmp.Then;
import java.time.Duration;
import java.util.Objects;
import org.junit.jupiter.api.Test;

class QmpCommandsTest {

  private static final Duration PATIENCE = Duration.ofSeconds(30);

  /** QEMU 7.2 answers like this when it is asked at once on its event of completion. */
  @Test
  void aMigrationIsNotOverBeforeItsTimesAreReckoned() throws Exception {
    try (ScriptedQmp server =
        ScriptedQmp.saying(
            Then.STAY,
            GREETING,
            NEGOTIATED,
            "{\"return\": {\"status\": \"completed\", \"total-time\": 0}, \"id\": 1}\r\n",
            "{\"return\": {\"status\": \"finish-migrate\"}, \"id\": 2}\r\n",
            "{\"return\": {\"status\": \"postmigrate\"}, \"id\": 3}\r\n",
            "{\"return\": {\"status\": \"completed\", \"total-time\": 1234}, \"id\": 4}\r\n")) {
      QmpClient client = Objects.requireNonNull(QmpClient.connect(server.spec()).block(PATIENCE));
      MigrateStatus status =
          Objects.requireNonNull(client.commands().awaitMigration(PATIENCE).block(PATIENCE));
      assertThat(status.info().path("total-time").asInt()).isEqualTo(1234);
      client.close().block(PATIENCE);
    }
  }
}
