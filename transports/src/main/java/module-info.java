/** Transports for Pageflux on reactor-netty. */
module io.pageflux.transports {
  requires transitive io.pageflux.core;
  requires transitive reactor.netty.core;
  requires io.netty.buffer;
  requires io.netty.common;
  requires io.netty.resolver;
  requires io.netty.transport;
  requires static transitive org.jspecify;

  exports io.pageflux.transport.tcp;
}
