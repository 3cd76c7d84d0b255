package io.pageflux.transport.tcp;

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.List;
import reactor.core.publisher.Mono;

/** Looks up host names where it may take its time. */
final class HostNames {

  private HostNames() {}

  /**
   * {@return all addresses of a host} On a virtual thread, which blocks nothing, lives as long as
   * the look-up, and needs no pool; a cancelled look-up ends by itself.
   */
  static Mono<List<InetAddress>> resolve(String host) {
    return Mono.create(
        sink ->
            Thread.ofVirtual()
                .name("pageflux-lookup")
                .start(
                    () -> {
                      try {
                        sink.success(List.of(InetAddress.getAllByName(host)));
                      } catch (UnknownHostException e) {
                        sink.error(TcpFailures.unknownHost(host, e));
                      } catch (RuntimeException e) {
                        sink.error(e);
                      }
                    }));
  }
}
