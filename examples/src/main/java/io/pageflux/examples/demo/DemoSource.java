package io.pageflux.examples.demo;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.pageflux.MigrationException;
import io.pageflux.codec.XbzrleSpec;
import io.pageflux.examples.cli.CliException;
import io.pageflux.examples.cli.CodecChoice;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.Endpoint;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.examples.cli.Failures;
import io.pageflux.examples.cli.Reconnection;
import io.pageflux.examples.control.ControlServer;
import io.pageflux.examples.kv.KvGuest;
import io.pageflux.examples.kv.KvVerification;
import io.pageflux.examples.report.MigrationJson;
import io.pageflux.examples.report.MigrationWatch;
import io.pageflux.memory.GuestMemory;
import io.pageflux.migration.MigrationEvent;
import io.pageflux.migration.MigrationInfo;
import io.pageflux.migration.OutgoingControl;
import io.pageflux.migration.OutgoingMigration;
import io.pageflux.migration.OutgoingPostcopySpec;
import io.pageflux.migration.OutgoingSpec;
import io.pageflux.transport.tcp.SocketTransport;
import java.time.Duration;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** The demonstration's source: has a guest that runs, and migrates it. */
@Command(name = "demo-source", hidden = true)
public final class DemoSource implements Callable<Integer> {

  private static final long SEED = 42;
  private static final Duration PROGRESS_INTERVAL = Duration.ofMillis(200);

  /** How often it is looked whether the line is to be cut. */
  private static final Duration CUT_INTERVAL = Duration.ofMillis(10);

  private final Console console;
  private int round;
  private long toldNanos = System.nanoTime();

  @Mixin private DemoOptions options = new DemoOptions();

  @Option(names = "--connect", required = true)
  private Endpoint endpoint = Endpoint.ANY_PORT;

  /** Made with what it talks to. */
  public DemoSource(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    ChildTalk talk = ChildTalk.begin(console, System.in);
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", options.sizeBytes()).build();
        KvGuest guest = KvGuest.create(memory.block(0), options.load(), SEED)) {
      guest.resume().block();
      talk.say(ChildTalk.message("guest").put("records", guest.recordCount()));
      return migrate(talk, memory, guest);
    } catch (RuntimeException e) {
      talk.say(ChildTalk.message("failed").put("message", Failures.describe(e)));
      return ExitCode.FAILED;
    }
  }

  private int migrate(ChildTalk talk, GuestMemory memory, KvGuest guest) {
    OutgoingControl control = new OutgoingControl();
    CutLine line = new CutLine(SocketTransport.connector(endpoint.spec()), options.breaks());
    MigrationWatch watch = new MigrationWatch(event -> tell(talk, event));
    try (ControlServer server = ControlServer.listen(options.control(), control)) {
      OutgoingMigration migration = OutgoingMigration.of(spec(memory, guest, line));
      Mono<Void> stop = console.interruption().requests();
      Flux<MigrationEvent> events =
          server == null ? migration.events(stop) : server.tell(migration.events(stop, control));
      MigrationInfo info = watch.follow(events.doOnNext(line::cutIfDue));
      if (line.cuts() < options.breaks().length) {
        throw new CliException(
            "the migration was over before the line was cut for the %d. time"
                .formatted(line.cuts() + 1));
      }
      ObjectNode completed = ChildTalk.message("completed").put("updates", guest.updates());
      completed.set("info", MigrationJson.of(info));
      talk.say(completed);
      return ExitCode.OK;
    } catch (RuntimeException e) {
      String reason = Failures.describe(e);
      ObjectNode failed =
          ChildTalk.message("failed")
              .put("message", reason)
              .put("guest-running", guest.isRunning())
              .put("updates", guest.updates());
      failed.set("info", MigrationJson.failed(watch.last(), e, reason));
      if (Failures.unwrap(e) instanceof MigrationException known
          && known.kind() == MigrationException.Kind.NOT_CONVERGED) {
        failed.set("verified", verify(guest));
      }
      talk.say(failed);
      return ExitCode.FAILED;
    }
  }

  /** A guest that was to stay must be what it was, and run as fast. */
  private ObjectNode verify(KvGuest guest) {
    boolean ran = guest.isRunning();
    Mono.delay(options.runAfter()).takeUntilOther(console.interruption().requests()).block();
    guest.pause().block();
    KvVerification found = guest.verify();
    boolean ok =
        ran && found.ok() && found.updates() == guest.updates() && guest.throttlePercent() == 0;
    return JsonNodeFactory.instance
        .objectNode()
        .put("ok", ok)
        .put("records", found.records())
        .put("updates", guest.updates())
        .put("throttle", guest.throttlePercent());
  }

  private boolean isDue() {
    long now = System.nanoTime();
    boolean due = now - toldNanos >= PROGRESS_INTERVAL.toNanos() * 9 / 10;
    toldNanos = due ? now : toldNanos;
    return due;
  }

  private void tell(ChildTalk talk, MigrationEvent event) {
    if (event instanceof MigrationEvent.RoundStarted started) {
      round = started.round();
    } else if (event instanceof MigrationEvent.Progress progress && isDue()) {
      ObjectNode message = ChildTalk.message("progress").put("round", round);
      message.set("info", MigrationJson.of(progress.info()));
      talk.say(message);
    }
  }

  private OutgoingSpec spec(GuestMemory memory, KvGuest guest, CutLine line) {
    CodecChoice codec = options.codec();
    boolean cuts = options.breaks().length > 0;
    return OutgoingSpec.of(memory, guest, line)
        .withXbzrle(
            codec.xbzrle() ? XbzrleSpec.DEFAULT.withCacheBytes(options.xbzrleCacheBytes()) : null)
        .withCompression(codec.compression(options.workers()))
        .withMaxBandwidth(options.linkBytesPerSecond())
        .withLimits(options.limits())
        .withPolicy(line.untilCut(options.policy()))
        .withSwitchOverCost(options.switchOverCost())
        .withSharedMemory(options.sharedMemory())
        .withPostcopy(options.postcopy() ? OutgoingPostcopySpec.DEFAULT : null)
        .withResume(cuts ? Reconnection.attempts(10) : null)
        .withProgressInterval(cuts ? CUT_INTERVAL : PROGRESS_INTERVAL);
  }
}
