package io.pageflux.examples.demo;

import io.pageflux.checkpoint.CheckpointEvent;
import io.pageflux.checkpoint.FailOver;
import io.pageflux.checkpoint.IncomingCheckpointSpec;
import io.pageflux.checkpoint.IncomingCheckpoints;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.examples.cli.Failures;
import io.pageflux.examples.kv.KvGuest;
import io.pageflux.memory.GuestMemory;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.tcp.TcpSpec;
import io.pageflux.transport.tcp.TcpTransport;
import java.util.Objects;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import reactor.core.publisher.Mono;

/**
 * The demonstration's destination of checkpoints: has the guest go on from the last one when the
 * source has died, and verifies it.
 *
 * <p>That the source is dead, and not only cut off, is certain here: whoever started both has
 * killed it.
 */
@Command(name = "demo-checkpoint-destination", hidden = true)
public final class CheckpointDestinationCommand implements Callable<Integer> {

  private final Console console;

  @Mixin private DemoOptions options = new DemoOptions();

  /** Made with what it talks to. */
  public CheckpointDestinationCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    ChildTalk talk = ChildTalk.begin(console, System.in);
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", options.sizeBytes()).build();
        KvGuest guest = KvGuest.awaited(memory.block(0), options.load())) {
      CheckpointEvent.Ended ended = hold(talk, memory, guest);
      if (!ended.started()) {
        throw new IllegalStateException(
            "the source has not died: " + Failures.describe(ended.reason()));
      }
      talk.say(
          ChildTalk.message("taken-over")
              .put("number", ended.checkpoint().number())
              .put("updates", guest.updates()));
      Mono.delay(options.runAfter()).takeUntilOther(console.interruption().requests()).block();
      return DemoDestination.verify(talk, guest) ? ExitCode.OK : ExitCode.FAILED;
    } catch (RuntimeException e) {
      talk.say(ChildTalk.message("failed").put("message", Failures.describe(e)));
      return ExitCode.FAILED;
    }
  }

  private CheckpointEvent.Ended hold(ChildTalk talk, GuestMemory memory, KvGuest guest) {
    Acceptor acceptor = Objects.requireNonNull(TcpTransport.listen(TcpSpec.loopback(0)).block());
    try {
      talk.say(ChildTalk.message("listening").put("address", acceptor.address()));
      CheckpointEvent last =
          IncomingCheckpoints.of(
                  IncomingCheckpointSpec.of(memory, guest, acceptor)
                      .withFailOver(FailOver.START)
                      .withStagingBytes(2 * options.sizeBytes())
                      .withWorkers(options.workers()))
              .events(console.interruption().requests())
              .blockLast();
      return (CheckpointEvent.Ended) Objects.requireNonNull(last);
    } finally {
      acceptor.dispose();
    }
  }
}
