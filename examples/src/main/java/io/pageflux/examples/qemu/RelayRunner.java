package io.pageflux.examples.qemu;

import io.pageflux.MigrationException;
import io.pageflux.examples.cli.Bytes;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.Durations;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.examples.cli.Failures;
import io.pageflux.examples.report.MigrationSummary;
import io.pageflux.qemu.relay.RelayInfo;
import io.pageflux.transport.Acceptor;
import java.util.Objects;
import java.util.function.Function;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** Runs a relay for one migration after the other, and says what becomes of them. */
final class RelayRunner {

  private final Console console;
  private final boolean once;
  private final String whom;
  private final String addressFormat;

  /**
   * @param once whether to end after one migration
   * @param whom who is waited for
   * @param addressFormat what to tell him of the address, with one {@code %s}
   */
  RelayRunner(Console console, boolean once, String whom, String addressFormat) {
    this.console = console;
    this.once = once;
    this.whom = whom;
    this.addressFormat = addressFormat;
  }

  int run(Mono<? extends Acceptor> listening, Function<Acceptor, Flux<RelayInfo>> relay) {
    Acceptor acceptor = Objects.requireNonNull(listening.block());
    try {
      console
          .out()
          .println(
              "waiting for %s: %s".formatted(whom, addressFormat.formatted(acceptor.address())));
      do {
        RuntimeException failure = relayOne(relay.apply(acceptor));
        if (console.interruption().requested()) {
          return ExitCode.INTERRUPTED;
        }
        if (failure != null && once) {
          throw failure;
        }
      } while (!once);
      return ExitCode.OK;
    } finally {
      acceptor.dispose();
    }
  }

  private @org.jspecify.annotations.Nullable RuntimeException relayOne(Flux<RelayInfo> migration) {
    try {
      RelayInfo last =
          migration
              .doOnNext(this::show)
              .takeUntilOther(console.interruption().requests())
              .blockLast();
      if (last != null && last.complete()) {
        console.out().println("complete  " + summary(last));
      } else {
        console.err().println("pageflux: interrupted");
      }
      return null;
    } catch (RuntimeException e) {
      if (!once) {
        console.err().println("pageflux: " + Failures.describe(e));
      }
      return Failures.unwrap(e) instanceof MigrationException known ? known : e;
    }
  }

  private void show(RelayInfo info) {
    if (!info.complete()) {
      console.err().println("relaying  " + summary(info));
    }
  }

  private static String summary(RelayInfo info) {
    double seconds = info.duration().toNanos() / 1e9;
    return "%s of QEMU's in %s: %s, %s between the relays (%.2f to 1)%s; pages: %s zero, %s whole, %s as deltas%s"
        .formatted(
            Bytes.text(info.qemuBytes()),
            Durations.text(info.duration()),
            Bytes.rate(info.qemuBytes() / Math.max(seconds, 1e-3)),
            Bytes.text(info.wireBytes()),
            info.wireBytes() == 0 ? 0.0 : (double) info.qemuBytes() / info.wireBytes(),
            info.windowBytes() == 0 ? "" : ", window " + Bytes.text(info.windowBytes()),
            MigrationSummary.grouped(info.zeroPages()),
            MigrationSummary.grouped(info.rawPages()),
            MigrationSummary.grouped(info.deltaPages()),
            info.unchangedPages() == 0
                ? ""
                : ", %s unchanged".formatted(MigrationSummary.grouped(info.unchangedPages())));
  }
}
