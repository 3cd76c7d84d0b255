package io.pageflux.examples.predict;

import io.pageflux.convergence.Intent;
import io.pageflux.convergence.IntentPolicy;
import io.pageflux.dirty.DirtyTrackers;
import io.pageflux.dirty.TrackingSpec;
import io.pageflux.examples.cli.ByteRate;
import io.pageflux.examples.cli.ByteSize;
import io.pageflux.examples.cli.CliException;
import io.pageflux.examples.cli.CodecOptions;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.ConvergenceOptions;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.examples.cli.LimitOptions;
import io.pageflux.examples.kv.KvGuest;
import io.pageflux.examples.kv.KvLoad;
import io.pageflux.examples.report.JsonReport;
import io.pageflux.memory.GuestMemory;
import io.pageflux.page.BatchGeometry;
import io.pageflux.prediction.Forecast;
import io.pageflux.prediction.ForecastSpec;
import io.pageflux.prediction.Forecaster;
import io.pageflux.prediction.GuestProfile;
import io.pageflux.prediction.MigrationObservation;
import io.pageflux.prediction.ObservationSpec;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code pageflux predict}. */
@Command(
    name = "predict",
    header = "Watch a guest for a while, and say whether and when its migration would converge.",
    description = {
      "Nothing is sent, and the guest is not changed. The same means are used as in 'pageflux"
          + " send', of which the options are.",
      "Each figure is the median of many played migrations, with the tenth and ninetieth"
          + " percentile in brackets."
    })
public final class PredictCommand implements Callable<Integer> {

  static final int MOST_RATES = 32;

  private final Console console;

  @Option(
      names = "--memory",
      paramLabel = "FILE",
      description = "The image that another process is writing, as for 'pageflux send'.")
  private @Nullable Path file;

  @Option(
      names = "--demo",
      paramLabel = "SIZE",
      description = "Watch a key-value store of this size instead, which runs in this process.")
  private @Nullable ByteSize demo;

  @Option(
      names = "--dirty-rate",
      paramLabel = "RATE",
      defaultValue = "100m",
      description = "What the store of --demo writes per second (${DEFAULT-VALUE}).")
  private ByteRate dirtyRate = new ByteRate(0);

  @Option(
      names = "--rate",
      split = ",",
      required = true,
      paramLabel = "RATE",
      description = "The link's rate; several ones with commas between.")
  private List<ByteRate> rates = List.of();

  @Option(
      names = "--duration",
      paramLabel = "DURATION",
      defaultValue = "10s",
      description =
          "How long to watch, 1s to 1h (${DEFAULT-VALUE}). What takes longer than that is"
              + " extrapolated.")
  private Duration duration = Duration.ZERO;

  @Option(
      names = "--round-trip",
      paramLabel = "DURATION",
      defaultValue = "1ms",
      description = "How long the destination takes to answer (${DEFAULT-VALUE}).")
  private Duration roundTrip = Duration.ZERO;

  @Mixin private LimitOptions limits = new LimitOptions();

  @Mixin private CodecOptions codec = CodecOptions.compressing();

  @Mixin private ConvergenceOptions convergence = new ConvergenceOptions();

  @Option(
      names = "--can-throttle",
      description = "The guest could be throttled, as with --throttle-pid of send.")
  private boolean canThrottle;

  @Option(
      names = "--same-host",
      description = "The destination would be on this host, and share its processors.")
  private boolean sameHost;

  @Option(
      names = "--json",
      paramLabel = "FILE",
      description = "Write the forecasts as JSON; - is standard output.")
  private @Nullable String json;

  /** Made with what it talks to. */
  public PredictCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    requireSense();
    JsonReport report = new JsonReport(json, console.out());
    report.requireWritable();
    GuestProfile profile = demo == null ? watchFile() : watchDemo(demo.bytes());
    List<Forecast> forecasts = new ArrayList<>();
    for (ByteRate rate : rates) {
      forecasts.add(
          Forecaster.of(
              profile,
              new ForecastSpec(
                  t -> rate.bytesPerSecond(),
                  roundTrip,
                  limits.limits(),
                  convergence.policyOr(IntentPolicy.of(new Intent.ShortDowntime())),
                  convergence.switchOverCost().expected(),
                  canThrottle,
                  sameHost,
                  ForecastSpec.DEFAULT_RUNS,
                  1)));
    }
    report.write(ForecastReport.json(profile, sameHost, rates, forecasts));
    if (!report.takesStandardOutput()) {
      ForecastReport.print(console.out(), profile, sameHost, rates, forecasts);
    }
    return ExitCode.OK;
  }

  private GuestProfile watchFile() throws IOException {
    Path path = file;
    if (path == null) {
      throw usage("--memory or --demo is needed");
    }
    try (GuestMemory memory = GuestMemory.builder().file("ram", path).build()) {
      return watch(memory);
    }
  }

  private GuestProfile watchDemo(long bytes) {
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", bytes).build();
        KvGuest guest =
            KvGuest.create(memory.block(0), new KvLoad(dirtyRate.bytesPerSecond(), 2), 42)) {
      guest.resume().block();
      return watch(memory);
    }
  }

  private GuestProfile watch(GuestMemory memory) {
    GuestProfile profile =
        MigrationObservation.of(
                new ObservationSpec(
                    memory,
                    m -> DirtyTrackers.choose(m, TrackingSpec.DEFAULT).tracker(),
                    codec.xbzrle(),
                    codec.compression(),
                    BatchGeometry.forPageSize(memory.layout().largestPageSizeBytes()),
                    duration,
                    ObservationSpec.DEFAULT_SAMPLE_BYTES,
                    1),
                console.interruption().requests())
            .block();
    if (profile == null) {
      throw new CliException("interrupted: nothing was foretold", ExitCode.INTERRUPTED);
    }
    return profile;
  }

  private void requireSense() {
    limits.requireSense();
    codec.requireSense();
    convergence.requireSense();
    if (convergence.needsThrottle() && !canThrottle) {
      throw usage(
          "--auto-converge needs --can-throttle: of a guest that cannot be throttled it makes nothing");
    }
    if ((file == null) == (demo == null)) {
      throw usage("one of --memory and --demo is needed");
    }
    ByteSize size = demo;
    if (size != null && (size.bytes() < KvGuest.MIN_BYTES || size.bytes() % 4096 != 0)) {
      throw usage(
          "--demo must be at least %d and a multiple of 4096 bytes, but it was %d"
              .formatted(KvGuest.MIN_BYTES, size.bytes()));
    }
    if (rates.isEmpty() || rates.size() > MOST_RATES) {
      throw usage("--rate takes 1 to %d rates, but got %d".formatted(MOST_RATES, rates.size()));
    }
    for (ByteRate rate : rates) {
      if (rate.bytesPerSecond() <= 0) {
        throw usage("--rate must be more than 0: nothing arrives over such a link");
      }
    }
    if (duration.toMillis() < 1000 || duration.toHours() >= 1 && duration.toSeconds() > 3600) {
      throw usage("--duration must be 1s to 1h, but it was " + duration);
    }
  }

  private static CliException usage(String message) {
    return new CliException(message, ExitCode.USAGE);
  }
}
