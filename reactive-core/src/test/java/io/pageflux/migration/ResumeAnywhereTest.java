package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.fault.Fault;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.publisher.Mono;
import reactor.util.retry.Retry;

/**
 * A small migration, the same each time, over a line that ends just before the end of any of its
 * records: it goes on with another line, and all memory arrives.
 */
@Timeout(120)
class ResumeAnywhereTest {

  private final TinyGuest source = TinyGuest.atSource();
  private final TinyGuest destination = new TinyGuest();
  private InMemoryTransport transport = InMemoryTransport.create();
  private final List<TapedLine> lines = new ArrayList<>();

  @AfterEach
  void nothingIsLeft() {
    Leftovers.assertNoThreads();
    transport.acceptor().dispose();
    source.close();
    destination.close();
  }

  private End migrate(Fault there, Fault back) {
    transport.acceptor().dispose();
    transport = InMemoryTransport.create();
    lines.clear();
    source.reset();
    destination.clear();
    AtomicInteger made = new AtomicInteger();
    Connector connector =
        () ->
            Mono.defer(
                () -> {
                  boolean first = made.getAndIncrement() == 0;
                  TapedLine line =
                      new TapedLine(
                          transport.connector(),
                          first ? there : Fault.NONE,
                          first ? back : Fault.NONE);
                  lines.add(line);
                  return line.connector().connect().map(c -> (Connection) c);
                });
    Mono<End> in =
        IncomingMigration.of(
                destination.incoming(transport.acceptor()).withResume(Duration.ofSeconds(2)))
            .run()
            .materialize()
            .map(s -> new End(s.get(), s.getThrowable()))
            .cache();
    in.subscribe();
    End out =
        End.of(
            source.migrate(
                source
                    .outgoing(connector)
                    .withMaxRounds(4)
                    .withResume(Retry.fixedDelay(5, Duration.ofMillis(1)))));
    Objects.requireNonNull(in.block(End.LIMIT), "no end");
    for (TapedLine line : lines) {
      assertThat(line.there().outstanding()).isZero();
      assertThat(line.back().outstanding()).isZero();
    }
    return out;
  }

  private List<WireBytes.Span> records(boolean back) {
    assertThat(migrate(Fault.NONE, Fault.NONE).error()).isNull();
    TapedLine line = lines.getFirst();
    return WireBytes.records(back ? line.back().bytes() : line.there().bytes());
  }

  private void assertArrives(String what, End out) {
    assertThat(out.error()).as(what).isNull();
    assertThat(lines).as(what).hasSize(2);
    assertThat(source.sameMemory(destination)).as(what).isTrue();
    assertThat(source.running).as(what).isFalse();
    assertThat(destination.running).as(what).isTrue();
    assertThat(destination.loaded).as(what).isEqualTo(TinyGuest.DEVICE_STATE);
  }

  @Test
  void anyRecordOfTheSourceMayBeLost() {
    int lost = 0;
    for (WireBytes.Span record : records(false)) {
      // Before the rounds there is nothing to resume.
      if (record.type() == WireBytes.COMMIT) {
        break;
      }
      if (record.type() >= WireBytes.ROUND_BEGIN) {
        lost++;
        assertArrives(record.toString(), migrate(Fault.endAfter(record.to() - 1), Fault.NONE));
      }
    }
    assertThat(lost).isGreaterThan(12);
  }

  @Test
  void anyRecordOfTheDestinationMayBeLostButTheLastOnes() {
    int lost = 0;
    for (WireBytes.Span record : records(true)) {
      if (record.type() == WireBytes.ROUND_ACK || record.type() == WireBytes.PREPARED) {
        lost++;
        assertArrives(record.toString(), migrate(Fault.NONE, Fault.endAfter(record.to() - 1)));
      }
    }
    assertThat(lost).isGreaterThan(3);
  }

  @Test
  void aHandOverOfWhichNothingWasHeardIsNotTriedAgain() {
    WireBytes.Span commit =
        records(false).stream()
            .filter(record -> record.type() == WireBytes.COMMIT)
            .findFirst()
            .orElseThrow();
    End out = migrate(Fault.endAfter(commit.to() - 1), Fault.NONE);
    assertThat(out.message()).contains("the guest had been handed over and stays paused here");
    assertThat(lines).hasSize(1);
    assertThat(source.running).isFalse();
    assertThat(destination.running).isFalse();
  }
}
