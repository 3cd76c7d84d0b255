package io.pageflux.examples.qemu;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.qemu.qmp.QmpAddress;
import io.pageflux.qemu.qmp.QmpClient;
import io.pageflux.qemu.qmp.QmpSpec;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.TypeConversionException;
import reactor.core.publisher.Mono;

/** {@code pageflux qmp}. */
@Command(
    name = "qmp",
    header = "Have a QEMU execute a command, and print its answer.",
    description = {
      "Such as: pageflux qmp unix:vm.qmp migrate uri=tcp:127.0.0.1:4444",
      "A value is JSON if it can be, and a text else."
    })
public final class QmpCommand implements Callable<Integer> {

  private static final ObjectMapper MAPPER = new ObjectMapper();

  private final Console console;

  @Parameters(
      index = "0",
      paramLabel = "ADDR",
      converter = QemuMigrateCommand.AddressConverter.class,
      description = "QEMU's QMP socket: unix:PATH or HOST:PORT.")
  private QmpAddress address = new QmpAddress.Tcp("localhost", 1);

  @Parameters(index = "1", paramLabel = "COMMAND", description = "Such as query-migrate.")
  private String command = "";

  @Parameters(index = "2..*", paramLabel = "KEY=VALUE", description = "Its arguments.")
  private List<String> arguments = List.of();

  @Option(
      names = "--timeout",
      paramLabel = "DURATION",
      defaultValue = "10s",
      description = "How long QEMU may take to answer (${DEFAULT-VALUE}).")
  private Duration timeout = Duration.ZERO;

  /** Made with what it talks to. */
  public QmpCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws JsonProcessingException {
    Map<String, Object> parsed = new LinkedHashMap<>();
    for (String argument : arguments) {
      int equals = argument.indexOf('=');
      if (equals < 1) {
        throw new TypeConversionException("'" + argument + "' is not KEY=VALUE");
      }
      parsed.put(argument.substring(0, equals), value(argument.substring(equals + 1)));
    }
    JsonNode answer =
        Mono.usingWhen(
                QmpClient.connect(QmpSpec.of(address).withTimeout(timeout)),
                client -> client.execute(command, parsed),
                QmpClient::close)
            .block();
    console.out().println(MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(answer));
    return ExitCode.OK;
  }

  private static Object value(String text) {
    try {
      return MAPPER.readTree(text);
    } catch (JsonProcessingException e) {
      return text;
    }
  }
}
