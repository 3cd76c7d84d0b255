package io.pageflux.examples.fault;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/** Sides that are processes. */
final class RemoteSides {

  private RemoteSides() {}

  private static String problem(@Nullable JsonNode answer) {
    return answer == null
        ? "it died when its pages were looked at"
        : answer.path("problem").asText();
  }

  /** A source in a process. */
  record Sender(PartyProcess process) implements Side.Source {

    static Sender start(FaultRun run, Path folder) {
      return new Sender(PartyProcess.start("source", run, folder));
    }

    @Override
    public Ending attempt(String address, boolean faulty) {
      return process.ending(
          process.ask(
              PartyProcess.request("attempt").put("address", address).put("faulty", faulty),
              "ended"));
    }

    @Override
    public void resume() {
      process.ask(PartyProcess.request("resume"), "resumed");
    }

    @Override
    public boolean isAlive() {
      return process.isAlive();
    }

    @Override
    public String verify() {
      return problem(process.ask(PartyProcess.request("verify"), "verified"));
    }

    @Override
    public void close() {
      process.close();
    }
  }

  /** A destination in a process. */
  record Receiver(PartyProcess process) implements Side.Destination {

    static Receiver start(FaultRun run, Path folder) {
      return new Receiver(PartyProcess.start("destination", run, folder));
    }

    @Override
    public String listen(boolean faulty) {
      JsonNode answer =
          process.ask(PartyProcess.request("listen").put("faulty", faulty), "listening");
      return answer == null ? "" : answer.path("address").asText();
    }

    @Override
    public void stopIfNobodyCame() {
      process.ask(PartyProcess.request("stop"), "stopped");
    }

    @Override
    public Ending await() {
      return process.ending(process.ask(PartyProcess.request("await"), "ended"));
    }

    @Override
    public boolean isAlive() {
      return process.isAlive();
    }

    @Override
    public String verify() {
      return problem(process.ask(PartyProcess.request("verify"), "verified"));
    }

    @Override
    public void close() {
      process.close();
    }
  }
}
