package io.pageflux.examples.demo;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.pageflux.checkpoint.CheckpointEvent;
import io.pageflux.checkpoint.CheckpointReport;
import io.pageflux.checkpoint.CheckpointTrigger;
import io.pageflux.checkpoint.OutgoingCheckpointSpec;
import io.pageflux.checkpoint.OutgoingCheckpoints;
import io.pageflux.codec.XbzrleSpec;
import io.pageflux.examples.cli.CodecChoice;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.Endpoint;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.examples.cli.Failures;
import io.pageflux.examples.kv.KvGuest;
import io.pageflux.memory.GuestMemory;
import io.pageflux.transport.tcp.SocketTransport;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The demonstration's source of checkpoints: has a guest that runs until it is killed with it. */
@Command(name = "demo-checkpoint-source", hidden = true)
public final class CheckpointSourceCommand implements Callable<Integer> {

  private static final long SEED = 42;

  private final Console console;
  private final CheckpointTrigger trigger = new CheckpointTrigger();

  @Mixin private DemoOptions options = new DemoOptions();

  @Option(names = "--connect", required = true)
  private Endpoint endpoint = Endpoint.ANY_PORT;

  /** Made with what it talks to. */
  public CheckpointSourceCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    ChildTalk talk = ChildTalk.begin(console, System.in, trigger::request);
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", options.sizeBytes()).build();
        KvGuest guest = KvGuest.create(memory.block(0), options.load(), SEED)) {
      guest.resume().block();
      talk.say(ChildTalk.message("guest").put("records", guest.recordCount()));
      OutgoingCheckpoints.of(spec(memory, guest))
          .events(console.interruption().requests())
          .doOnNext(event -> tell(talk, event, guest))
          .blockLast();
      talk.say(ChildTalk.message("stopped"));
      return ExitCode.OK;
    } catch (RuntimeException e) {
      talk.say(ChildTalk.message("failed").put("message", Failures.describe(e)));
      return ExitCode.FAILED;
    }
  }

  private static void tell(ChildTalk talk, CheckpointEvent event, KvGuest guest) {
    if (event instanceof CheckpointEvent.Acknowledged(CheckpointReport report)) {
      ObjectNode message =
          ChildTalk.message("checkpoint")
              .put("number", report.number())
              .put("pause-us", report.pause().toNanos() / 1000)
              .put("scan-us", report.scan().toNanos() / 1000)
              .put("copy-out-us", report.copyOut().toNanos() / 1000)
              .put("acknowledged-us", report.acknowledged().toNanos() / 1000)
              .put("dirty", report.dirtyPages())
              .put("bytes", report.wireBytes())
              .put("fitted", report.fitted())
              .put("updates", guest.updates());
      talk.say(message);
    }
  }

  private OutgoingCheckpointSpec spec(GuestMemory memory, KvGuest guest) {
    CodecChoice codec = options.codec();
    return OutgoingCheckpointSpec.of(memory, guest, SocketTransport.connector(endpoint.spec()))
        .withInterval(options.checkpoints().interval())
        .withTrigger(trigger)
        .withXbzrle(
            codec.xbzrle() ? XbzrleSpec.DEFAULT.withCacheBytes(options.xbzrleCacheBytes()) : null)
        .withCompression(codec.compression(options.workers()))
        .withStagingBytes(options.checkpoints().stagingBytes())
        .withMaxBandwidth(options.linkBytesPerSecond());
  }
}
