package io.pageflux.examples.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine.TypeConversionException;

class EndpointTest {

  @ParameterizedTest
  @CsvSource({
    "4444, 127.0.0.1, 4444",
    ":4444, 127.0.0.1, 4444",
    "localhost:0, localhost, 0",
    "0.0.0.0:65535, 0.0.0.0, 65535",
    "[::1]:22, ::1, 22",
    "a.example.org:80, a.example.org, 80",
  })
  void hostsAndPortsAreToldApart(String text, String host, int port) {
    assertThat(Endpoint.parse(text)).isEqualTo(new Endpoint.Tcp(host, port));
  }

  @Test
  void anIpv6AddressIsShownInBrackets() {
    assertThat(Endpoint.parse("[::1]:22")).hasToString("[::1]:22");
    assertThat(Endpoint.parse("22")).hasToString("127.0.0.1:22");
  }

  @Test
  void aUnixSocketIsToldFromAHost() {
    assertThat(Endpoint.parse("unix:/tmp/a b:4444"))
        .isEqualTo(new Endpoint.Unix(Path.of("/tmp/a b:4444")))
        .hasToString("unix:/tmp/a b:4444");
    for (String wrong : new String[] {"unix:", "unix:/tmp/" + "x".repeat(103)}) {
      assertThatThrownBy(() -> Endpoint.parse(wrong))
          .isInstanceOf(TypeConversionException.class)
          .hasMessageContainingAll(wrong, "1 to 107 bytes");
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "host",
        "host:",
        "host:x",
        "host:65536",
        "host:-1",
        "::1:22",
        "[x]:1",
        "a b:1"
      })
  void whatIsNoEndpointIsRefused(String text) {
    assertThatThrownBy(() -> Endpoint.parse(text))
        .isInstanceOf(TypeConversionException.class)
        .hasMessageContaining("'" + text + "' is not HOST:PORT");
  }
}
