package io.pageflux.transport.tcp;

import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

@EnabledOnOs(OS.LINUX)
class TcpEpollTransportTest extends TcpTransportTests {

  @Override
  TcpSpec spec() {
    return TcpSpec.loopback(0);
  }

  @Override
  String threadKind() {
    return "epoll";
  }
}
