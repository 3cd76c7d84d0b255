package io.pageflux.transport.tcp;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.netty.channel.ConnectTimeoutException;
import java.net.InetSocketAddress;
import java.net.NoRouteToHostException;
import java.time.Duration;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TcpSpecTest {

  @Test
  void theDefaultsListenOnTheLoopbackAddressOnly() {
    TcpSpec spec = TcpSpec.loopback(4000);
    assertThat(spec.host()).isEqualTo("127.0.0.1");
    assertThat(spec.nativeTransport()).isTrue();
    assertThat(spec.loopResources()).isNull();
    assertThat(spec.sendBufferBytes()).isZero();
    assertThat(spec.receiveBufferBytes()).isZero();
  }

  @Test
  void eachWithChangesWhatItSays() {
    TcpSpec spec =
        TcpSpec.loopback(1)
            .withHost("a.example")
            .withPort(2)
            .withConnectTimeout(Duration.ofSeconds(3))
            .withNativeTransport(false)
            .withEventLoops(4)
            .withSocketBuffers(5, 6)
            .withReadBytes(8192);
    assertThat(spec)
        .isEqualTo(new TcpSpec("a.example", 2, Duration.ofSeconds(3), false, 4, null, 5, 6, 8192));
  }

  @Test
  void valuesOutOfRangeAreRefusedByName() {
    TcpSpec spec = TcpSpec.loopback(1);
    refused(() -> spec.withHost(" "), "host name or address is required");
    refused(() -> spec.withPort(65_536), "port must be 0 to 65535, but it was 65536");
    refused(() -> spec.withConnectTimeout(Duration.ZERO), "connectTimeout must be more than zero");
    refused(() -> spec.withConnectTimeout(Duration.ofDays(2)), "at most an hour");
    refused(() -> spec.withEventLoops(0), "eventLoops must be 1 to 64");
    refused(() -> spec.withReadBytes(5 << 20), "readBytes must be 4096 to 4194304");
    refused(() -> spec.withSocketBuffers(-1, 0), "sendBufferBytes must be");
    refused(() -> spec.withSocketBuffers(0, -1), "receiveBufferBytes must be");
    refused(() -> new TcpConnector(spec.withPort(0)), "a port to connect to is required");
  }

  private static void refused(ThrowingCallable call, String why) {
    assertThatThrownBy(call).isInstanceOf(IllegalArgumentException.class).hasMessageContaining(why);
  }

  @ParameterizedTest
  @CsvSource({"127.0.0.1, 127.0.0.1:7", "::1, [::1]:7", "guest.example, guest.example:7"})
  void addressesCanBePasted(String host, String shown) {
    assertThat(TcpFailures.address(host, 7)).isEqualTo(shown);
    assertThat(TcpSpec.of(host, 7).address()).isEqualTo(shown);
  }

  @Test
  void addressesOfPeersAreNotLookedUp() {
    assertThat(TcpFailures.address(InetSocketAddress.createUnresolved("no-such.invalid", 1)))
        .isEqualTo("no-such.invalid:1");
    assertThat(TcpFailures.address(new InetSocketAddress("127.0.0.1", 1))).isEqualTo("127.0.0.1:1");
  }

  @Test
  void failuresSayWhatCanBeDone() {
    TcpSpec spec = TcpSpec.of("10.0.0.9", 7).withConnectTimeout(Duration.ofMillis(1500));
    assertThat(TcpFailures.connecting(spec, new ConnectTimeoutException("connection timed out")))
        .hasMessageContaining("cannot connect to 10.0.0.9:7: no answer within 1.5 s")
        .hasMessageContaining("firewall");
    assertThat(TcpFailures.connecting(spec, new NoRouteToHostException("No route to host")))
        .hasMessageContaining("cannot be reached from here");
    IllegalStateException ours = new IllegalStateException("x");
    assertThat(TcpFailures.connecting(spec, ours)).as("no network error").isSameAs(ours);
    assertThat(TcpFailures.broken("p:1", "sending", new java.io.IOException("Broken pipe")))
        .hasMessageContaining("the connection to p:1 was lost while sending")
        .hasMessageContaining("reset by the other side");
  }
}
