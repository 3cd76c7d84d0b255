/**
 * Pageflux: guest memory, dirty tracking, page operators, the native wire format and the migration
 * of a running guest's memory as a reactive stream.
 */
@SuppressWarnings("module") // it is compiled before the module that it exports a package to
module io.pageflux.core {
  requires transitive reactor.core;
  requires transitive org.reactivestreams;
  requires com.github.luben.zstd_jni;
  requires com.dynatrace.hash4j;
  requires static transitive org.jspecify;

  exports io.pageflux;
  exports io.pageflux.checkpoint;
  exports io.pageflux.codec;
  exports io.pageflux.convergence;
  exports io.pageflux.dirty;
  exports io.pageflux.memory;
  exports io.pageflux.migration;
  exports io.pageflux.operator;
  exports io.pageflux.page;
  exports io.pageflux.postcopy;
  exports io.pageflux.prediction;
  exports io.pageflux.transport;
  exports io.pageflux.wire;
  exports io.pageflux.channel to
      io.pageflux.transports;
  exports io.pageflux.internal to
      io.pageflux.transports;
}
