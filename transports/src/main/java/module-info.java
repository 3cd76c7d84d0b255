/**
 * Transports for Pageflux on reactor-netty, and what speaks with QEMU.
 *
 * <p>Some of Netty's modules are required only because reactor-netty, an automatic module, cannot
 * say itself what it needs. On the module path epoll is used if its modules are added: {@code
 * --add-modules io.netty.transport.classes.epoll,io.netty.transport.epoll.linux.x86_64}; else NIO
 * serves.
 */
module io.pageflux.transports {
  requires transitive com.fasterxml.jackson.databind;
  requires transitive io.pageflux.core;
  requires transitive reactor.netty.core;
  requires com.github.luben.zstd_jni;
  requires io.netty.buffer;
  requires io.netty.common;
  requires io.netty.handler;
  requires io.netty.handler.proxy;
  requires io.netty.resolver.dns;
  requires io.netty.resolver;
  requires io.netty.transport;
  requires io.netty.transport.unix.common;
  requires static transitive org.jspecify;

  exports io.pageflux.qemu.capture;
  exports io.pageflux.qemu.migrate;
  exports io.pageflux.qemu.multifd;
  exports io.pageflux.qemu.postcopy;
  exports io.pageflux.qemu.qmp;
  exports io.pageflux.qemu.relay;
  exports io.pageflux.qemu.stream;
  exports io.pageflux.transport.tcp;
}
