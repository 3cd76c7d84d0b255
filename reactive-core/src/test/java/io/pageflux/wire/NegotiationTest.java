package io.pageflux.wire;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import java.util.UUID;
import org.junit.jupiter.api.Test;

class NegotiationTest {

  private static final long XBZRLE = Feature.XBZRLE.mask();
  private static final long ZSTD = Feature.ZSTD.mask();

  private static WireRecord.Hello hello(
      int min, int max, long features, long required, String software) {
    return new WireRecord.Hello(min, max, features, required, new UUID(1, 2), 0, 1, software);
  }

  @Test
  void theHighestCommonVersionAndTheCommonFeaturesAreChosenByBoth() {
    WireRecord.Hello one = hello(1, 3, XBZRLE | ZSTD | 1L << 40, ZSTD, "one");
    WireRecord.Hello two = hello(2, 9, ZSTD | 1L << 41, 0, "two");
    assertThat(Negotiation.of(one, two)).isEqualTo(new Negotiation(3, ZSTD));
    assertThat(Negotiation.of(two, one)).isEqualTo(new Negotiation(3, ZSTD));
    assertThat(Negotiation.of(one, two).has(Feature.ZSTD)).isTrue();
    assertThat(Negotiation.of(one, two).has(Feature.XBZRLE)).isFalse();
  }

  @Test
  void versionsThatDoNotOverlapAreNamed() {
    WireRecord.Hello old = hello(1, 1, 0, 0, "old");
    WireRecord.Hello young = hello(2, 4, 0, 0, "yo\033[2Jung");
    refused(
        old,
        young,
        "this side (old) speaks version 1, the peer (yo\\u{1b}[2Jung) speaks versions 2 to 4");
    refused(young, old, "speaks versions 2 to 4, the peer (old) speaks version 1");
  }

  @Test
  void requiredFeaturesThatAreMissingAreNamed() {
    WireRecord.Hello demanding = hello(1, 1, ZSTD | 1L << 17, ZSTD | 1L << 17, "demanding");
    WireRecord.Hello simple = hello(1, 1, XBZRLE, 0, "simple");
    refused(
        demanding,
        simple,
        "the peer (simple) lacks what this side (demanding) requires: ZSTD, bit 17");
    refused(
        simple,
        demanding,
        "this side (simple) lacks what the peer (demanding) requires: ZSTD, bit 17");
  }

  private static void refused(WireRecord.Hello own, WireRecord.Hello peer, String message) {
    assertThatThrownBy(() -> Negotiation.of(own, peer))
        .isInstanceOf(MigrationException.class)
        .hasMessageContaining(message)
        .extracting("kind")
        .isEqualTo(MigrationException.Kind.PROTOCOL);
  }
}
