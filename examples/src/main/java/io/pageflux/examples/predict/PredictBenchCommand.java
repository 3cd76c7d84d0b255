package io.pageflux.examples.predict;

import io.pageflux.MigrationException;
import io.pageflux.convergence.AutoConverge;
import io.pageflux.convergence.ConvergenceLimits;
import io.pageflux.convergence.ConvergencePolicy;
import io.pageflux.convergence.LimitPolicy;
import io.pageflux.examples.cli.CliException;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.examples.cli.Failures;
import io.pageflux.examples.kv.KvGuest;
import io.pageflux.examples.kv.KvLoad;
import io.pageflux.memory.GuestMemory;
import io.pageflux.migration.Guest;
import io.pageflux.migration.IncomingMigration;
import io.pageflux.migration.IncomingSpec;
import io.pageflux.migration.MigrationEvent;
import io.pageflux.migration.MigrationInfo;
import io.pageflux.migration.OutgoingMigration;
import io.pageflux.migration.OutgoingSpec;
import io.pageflux.prediction.Forecast;
import io.pageflux.prediction.ForecastSpec;
import io.pageflux.prediction.Forecaster;
import io.pageflux.prediction.GuestProfile;
import io.pageflux.prediction.MigrationObservation;
import io.pageflux.prediction.ObservationSpec;
import io.pageflux.transport.tcp.TcpAcceptor;
import io.pageflux.transport.tcp.TcpSpec;
import io.pageflux.transport.tcp.TcpTransport;
import java.io.PrintStream;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import reactor.core.Disposable;
import reactor.core.Disposables;
import reactor.core.publisher.Flux;

/** {@code pageflux predict-bench}. */
@Command(
    name = "predict-bench",
    header = "Compare predictions with real migrations, over loopback with a bandwidth limit.",
    description = "The exit code is 1 if a verdict was wrong or a time was more than 25 %% off.")
public final class PredictBenchCommand implements Callable<Integer> {

  private static final Duration PATIENCE = Duration.ofMinutes(3);
  private static final double MIB = 1 << 20;

  /** How long a guest in bursts writes, and how long it does next to nothing then. */
  private static final Duration BURST = Duration.ofSeconds(1);

  /** What is special about a guest. */
  private enum Manner {
    STEADY,
    /** It may be throttled, by QEMU's rule. */
    THROTTLED,
    /** It writes every other second. */
    BURSTS
  }

  /** A guest and the links that it is migrated over, in MiB and MiB/s. */
  private record Scene(
      String name, int size, int dirtyRate, boolean codecs, Manner manner, List<Integer> links) {

    Scene(String name, int size, int dirtyRate, boolean codecs, List<Integer> links) {
      this(name, size, dirtyRate, codecs, Manner.STEADY, links);
    }

    ConvergencePolicy.Maker policy() {
      return manner == Manner.THROTTLED ? AutoConverge::new : LimitPolicy::new;
    }
  }

  private static final List<Scene> SCENES =
      List.of(
          new Scene("64m, 2m/s, raw", 64, 2, false, List.of(4, 12, 40)),
          new Scene("64m, 40m/s, raw", 64, 40, false, List.of(5, 10, 20, 120)),
          new Scene("64m, 100m/s, raw", 64, 100, false, List.of(12, 24, 120)),
          new Scene("128m, 10m/s, codecs", 128, 10, true, List.of(2, 6, 20)),
          new Scene("128m, 80m/s, codecs", 128, 80, true, List.of(3, 8, 30)),
          new Scene("128m, 300m/s, codecs", 128, 300, true, List.of(4, 8, 60)),
          new Scene("256m, 30m/s, codecs", 256, 30, true, List.of(5, 12, 40)),
          new Scene("64m, 40m/s, throttled", 64, 40, false, Manner.THROTTLED, List.of(12, 20)),
          new Scene("64m, 60m/s, in bursts", 64, 60, false, Manner.BURSTS, List.of(6, 20, 60)));

  /** What happened. */
  private record Real(boolean converged, double seconds, double bytes, double downtimeSeconds) {}

  private final Console console;

  @Option(
      names = "--duration",
      paramLabel = "DURATION",
      defaultValue = "5s",
      description = "How long each guest is watched (${DEFAULT-VALUE}).")
  private Duration duration = Duration.ZERO;

  @Option(
      names = "--timeout",
      paramLabel = "DURATION",
      defaultValue = "25s",
      description = "When a real migration is given up (${DEFAULT-VALUE}).")
  private Duration timeout = Duration.ZERO;

  @Option(
      names = "--guests",
      split = ",",
      paramLabel = "N",
      description = "Only these guests, which are counted from 1 (all of them).")
  private List<Integer> guests = List.of();

  @Option(
      names = "--links",
      split = ",",
      paramLabel = "MIB/S",
      description = "Only those of a guest's links (all of them).")
  private List<Integer> links = List.of();

  private int cases;
  private int right;
  private int inTime;
  private int timed;

  /** Made with what it talks to. */
  public PredictBenchCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    PrintStream out = console.out();
    out.printf(
        "%-22s %6s | %-14s %-18s %8s %8s | %-10s %7s %8s %8s | %s%n",
        "guest",
        "MiB/s",
        "predicted",
        "seconds",
        "MiB",
        "down ms",
        "real",
        "seconds",
        "MiB",
        "down ms",
        "");
    for (Scene scene : chosen()) {
      try (GuestMemory memory =
              GuestMemory.builder().anonymous("ram", (long) scene.size() << 20).build();
          KvGuest guest =
              KvGuest.create(memory.block(0), new KvLoad((long) scene.dirtyRate() << 20, 2), 42)) {
        run(scene, memory, guest);
      }
    }
    out.printf(
        "%d of %d verdicts right; %d of %d times within 25 %%%n", right, cases, inTime, timed);
    return right == cases && inTime == timed ? ExitCode.OK : ExitCode.FAILED;
  }

  private List<Scene> chosen() {
    for (int guest : guests) {
      if (guest < 1 || guest > SCENES.size()) {
        throw new CliException(
            "--guests are 1 to %d, but one was %d".formatted(SCENES.size(), guest), ExitCode.USAGE);
      }
    }
    return guests.isEmpty() ? SCENES : guests.stream().map(guest -> SCENES.get(guest - 1)).toList();
  }

  private OutgoingSpec spec(Scene scene, GuestMemory memory, KvGuest guest, int port) {
    OutgoingSpec spec =
        OutgoingSpec.of(memory, guest, TcpTransport.connector(TcpSpec.loopback(port)))
            .withPolicy(scene.policy())
            .withTimeout(timeout)
            .withAtLimit(ConvergenceLimits.AtLimit.ABORT);
    return scene.codecs() ? spec : spec.withXbzrle(null).withCompression(null);
  }

  private void run(Scene scene, GuestMemory memory, KvGuest guest) {
    guest.resume().block();
    Disposable bursts =
        scene.manner() == Manner.BURSTS
            ? Flux.interval(BURST)
                .concatMap(n -> guest.throttle(n % 2 == 0 ? 99 : 0))
                .subscribe(nothing -> {}, e -> {})
            : Disposables.disposed();
    try {
      compare(scene, memory, guest);
    } finally {
      bursts.dispose();
    }
  }

  private void compare(Scene scene, GuestMemory memory, KvGuest guest) {
    OutgoingSpec any = spec(scene, memory, guest, 1);
    GuestProfile profile =
        Objects.requireNonNull(
            MigrationObservation.of(ObservationSpec.of(any, duration)).block(PATIENCE));
    for (int link : scene.links()) {
      if (!links.isEmpty() && !links.contains(link)) {
        continue;
      }
      Forecast forecast =
          Forecaster.of(
              profile,
              ForecastSpec.of((long) link << 20, any.limits(), any.policy())
                  .withCanThrottle(scene.manner() == Manner.THROTTLED)
                  .withDestinationHere(true));
      guest.resume().block();
      Real real = migrate(scene, memory, guest, (long) link << 20);
      tell(scene, link, forecast, real);
    }
  }

  private Real migrate(Scene scene, GuestMemory memory, KvGuest guest, long bytesPerSecond) {
    TcpAcceptor acceptor =
        Objects.requireNonNull(TcpTransport.listen(TcpSpec.loopback(0)).block(PATIENCE));
    AtomicReference<@Nullable MigrationInfo> last = new AtomicReference<>();
    try (GuestMemory destination =
        GuestMemory.builder().anonymous("ram", memory.sizeBytes()).build()) {
      var incoming =
          IncomingMigration.of(IncomingSpec.of(destination, Guest.passive(), acceptor))
              .run()
              .onErrorComplete()
              .toFuture();
      try {
        OutgoingMigration.of(
                spec(scene, memory, guest, acceptor.port()).withMaxBandwidth(bytesPerSecond))
            .events()
            .doOnNext(
                event -> {
                  if (event instanceof MigrationEvent.Progress progress) {
                    last.set(progress.info());
                  } else if (event instanceof MigrationEvent.Completed completed) {
                    last.set(completed.info());
                  }
                })
            .blockLast(PATIENCE);
        return real(true, last.get());
      } catch (RuntimeException e) {
        if (Failures.unwrap(e) instanceof MigrationException known
            && known.kind() == MigrationException.Kind.NOT_CONVERGED) {
          return real(false, last.get());
        }
        throw e;
      } finally {
        incoming.join();
      }
    } finally {
      acceptor.dispose();
    }
  }

  private static Real real(boolean converged, @Nullable MigrationInfo info) {
    MigrationInfo known = Objects.requireNonNull(info);
    return new Real(
        converged,
        known.totalTime().toNanos() / 1e9,
        known.ram().transferred(),
        known.downtime().toNanos() / 1e9);
  }

  private void tell(Scene scene, int link, Forecast forecast, Real real) {
    Forecast.Verdict truth =
        real.converged() ? Forecast.Verdict.CONVERGES : Forecast.Verdict.DOES_NOT_CONVERGE;
    boolean isRight = forecast.verdict() == truth;
    double off = forecast.seconds().expected() / real.seconds() - 1;
    cases++;
    right += isRight ? 1 : 0;
    timed += real.converged() ? 1 : 0;
    inTime += real.converged() && Math.abs(off) <= 0.25 ? 1 : 0;
    console
        .out()
        .printf(
            Locale.ROOT,
            "%-22s %6d | %-9s %3.0f%% %-18s %8.1f %8.0f | %-10s %7.1f %8.1f %8.0f | %s, %+.0f %%%n",
            scene.name(),
            link,
            forecast.verdict().text(),
            100 * forecast.probability(),
            ForecastReport.text(forecast.seconds(), 1),
            forecast.bytes().expected() / MIB,
            forecast.downtimeSeconds().expected() * 1e3,
            real.converged() ? "converges" : "does not",
            real.seconds(),
            real.bytes() / MIB,
            real.downtimeSeconds() * 1e3,
            isRight ? "right" : "WRONG",
            100 * off);
  }
}
