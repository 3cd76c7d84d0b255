package io.pageflux.transport.tcp;

class TcpNioTransportTest extends TcpTransportTests {

  @Override
  TcpSpec spec() {
    return TcpSpec.loopback(0).withNativeTransport(false);
  }

  @Override
  String threadKind() {
    return "nio";
  }
}
