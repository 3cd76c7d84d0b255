package io.pageflux.wire;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;

/**
 * What two sides agree upon that have said HELLO to one another. Both compute the same.
 *
 * @param version the protocol version: the highest that both speak
 * @param features what both can do; see {@link Feature}
 */
public record Negotiation(int version, long features) {

  /**
   * Compares two HELLOs.
   *
   * @param own what this side has said
   * @param peer what the other side has said
   * @throws MigrationException of kind {@code PROTOCOL} if there is no version that both speak, or
   *     one side lacks a feature that the other requires
   */
  public static Negotiation of(WireRecord.Hello own, WireRecord.Hello peer) {
    int version = Math.min(own.version(), peer.version());
    if (version < Math.max(own.minVersion(), peer.minVersion())) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "there is no protocol version that both sides speak: this side (%s) speaks %s,"
              .concat(" the peer (%s) speaks %s")
              .formatted(software(own), versions(own), software(peer), versions(peer)));
    }
    long lackedByPeer = own.required() & ~peer.features();
    if (lackedByPeer != 0) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "the peer (%s) lacks what this side (%s) requires: %s"
              .formatted(software(peer), software(own), Feature.names(lackedByPeer)));
    }
    long lacked = peer.required() & ~own.features();
    if (lacked != 0) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "this side (%s) lacks what the peer (%s) requires: %s"
              .formatted(software(own), software(peer), Feature.names(lacked)));
    }
    return new Negotiation(version, own.features() & peer.features());
  }

  /**
   * Compares two HELLOs at a destination that uses one connection.
   *
   * @throws MigrationException as {@link #of} does, and if the source wants to use another number
   */
  public static Negotiation ofOneConnection(WireRecord.Hello own, WireRecord.Hello source) {
    Negotiation agreed = of(own, source);
    if (source.channels() != 1) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "the source wants to use %d connections, but this side can use only one"
              .formatted(source.channels()));
    }
    return agreed;
  }

  /** {@return whether a feature was agreed upon} */
  public boolean has(Feature feature) {
    return feature.in(features);
  }

  private static String software(WireRecord.Hello hello) {
    String name = Texts.printable(hello.software());
    return name.length() > 80 ? name.substring(0, 80) + "…" : name;
  }

  private static String versions(WireRecord.Hello hello) {
    return hello.minVersion() == hello.version()
        ? "version " + hello.version()
        : "versions " + hello.minVersion() + " to " + hello.version();
  }
}
