package io.pageflux.examples.demo;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.examples.cli.Failures;
import io.pageflux.examples.kv.KvAccess;
import io.pageflux.examples.kv.KvGuest;
import io.pageflux.examples.kv.KvVerification;
import io.pageflux.examples.report.MigrationJson;
import io.pageflux.examples.report.MigrationWatch;
import io.pageflux.memory.GuestMemory;
import io.pageflux.migration.IncomingMigration;
import io.pageflux.migration.IncomingSpec;
import io.pageflux.migration.MigrationInfo;
import io.pageflux.postcopy.PostcopyMemory;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.tcp.TcpSpec;
import io.pageflux.transport.tcp.TcpTransport;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import reactor.core.publisher.Mono;

/** The demonstration's destination: receives the guest, lets it run, and verifies it. */
@Command(name = "demo-destination", hidden = true)
public final class DemoDestination implements Callable<Integer> {

  private static final Duration RECONNECTION = Duration.ofSeconds(30);

  private final Console console;

  @Mixin private DemoOptions options = new DemoOptions();

  /** Made with what it talks to. */
  public DemoDestination(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    ChildTalk talk = ChildTalk.begin(console, System.in);
    try (GuestMemory memory = memory()) {
      return receiveAndVerify(talk, memory);
    } catch (RuntimeException e) {
      talk.say(ChildTalk.message("failed").put("message", Failures.describe(e)));
      return ExitCode.FAILED;
    }
  }

  private int receiveAndVerify(ChildTalk talk, GuestMemory memory) {
    PostcopyMemory absentBy = PostcopyMemory.of(memory);
    KvAccess access = (offset, bytes) -> absentBy.require(0, offset, bytes);
    try (KvGuest guest = KvGuest.awaited(memory.block(0), options.load(), access)) {
      receive(talk, absentBy, guest);
      return verify(talk, guest) ? ExitCode.OK : ExitCode.FAILED;
    }
  }

  private GuestMemory memory() {
    GuestMemory.Builder memory = GuestMemory.builder();
    return options.sharedMemory()
        ? memory.shared("ram", options.sizeBytes()).build()
        : memory.anonymous("ram", options.sizeBytes()).build();
  }

  private void receive(ChildTalk talk, PostcopyMemory absentBy, KvGuest guest) {
    MigrationInfo info;
    Acceptor acceptor = Objects.requireNonNull(TcpTransport.listen(TcpSpec.loopback(0)).block());
    try {
      talk.say(ChildTalk.message("listening").put("address", acceptor.address()));
      info =
          new MigrationWatch(event -> {})
              .follow(
                  IncomingMigration.of(
                          IncomingSpec.of(absentBy.memory(), guest, acceptor)
                              .withWorkers(options.workers())
                              .withSharedMemory(options.sharedMemory())
                              .withPostcopy(options.postcopy() ? absentBy : null)
                              .withResume(options.breaks().length > 0 ? RECONNECTION : null))
                      .events(console.interruption().requests()));
    } finally {
      acceptor.dispose();
    }
    ObjectNode running = ChildTalk.message("running").put("updates", guest.updates());
    running.set("info", MigrationJson.of(info));
    talk.say(running);
    Mono.delay(options.runAfter()).takeUntilOther(console.interruption().requests()).block();
  }

  /** Verifies a guest, and says what was found. */
  static boolean verify(ChildTalk talk, KvGuest guest) {
    // Fails if the guest has come upon damage while it ran.
    guest.pause().block();
    KvVerification found = guest.verify();
    boolean ok = found.ok() && found.updates() == guest.updates();
    ObjectNode message =
        ChildTalk.message("verified")
            .put("ok", ok)
            .put("records", found.records())
            .put("bytes", found.bytes())
            .put("updates", guest.updates())
            .put("damaged", found.damaged())
            .put("misplaced", found.misplaced())
            .put("outdated-regions", found.outdatedRegions())
            .put("soiled-chunks", found.soiledChunks());
    found.findings().forEach(message.putArray("findings")::add);
    talk.say(message);
    return ok;
  }
}
