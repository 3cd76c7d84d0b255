package io.pageflux.examples.fault;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;

/** Sides that are in processes. */
final class RemoteSides {

  private RemoteSides() {}

  private static ObjectNode begin(String role, FaultRun run, Path folder) {
    return PartyProcess.request("begin")
        .put("role", role)
        .put("seed", run.seed())
        .put("run", run.number())
        .put("folder", folder.toString());
  }

  /** There is nothing to look at where the guest has died with its process. */
  private static String verify(PartyProcess process) {
    JsonNode answer = process.ask(PartyProcess.request("verify"), "verified");
    return answer == null ? "" : answer.path("problem").asText();
  }

  /** A source in a process. */
  record Sender(PartyProcess process) implements Side.Source {

    static Sender begin(PartyProcess process, FaultRun run, Path folder) {
      process.ask(RemoteSides.begin("source", run, folder), "begun");
      return new Sender(process);
    }

    @Override
    public Ending attempt(String address, boolean faulty) {
      return process.ending(
          process.ask(
              PartyProcess.request("attempt").put("address", address).put("faulty", faulty),
              "ended"));
    }

    @Override
    public void keep(Path file) {
      process.ask(PartyProcess.request("keep").put("file", file.toString()), "kept");
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
      return RemoteSides.verify(process);
    }

    @Override
    public String end() {
      return process.end();
    }
  }

  /** A destination in a process. */
  record Receiver(PartyProcess process) implements Side.Destination {

    static Receiver begin(PartyProcess process, FaultRun run, Path folder) {
      process.ask(RemoteSides.begin("destination", run, folder), "begun");
      return new Receiver(process);
    }

    @Override
    public String listen(boolean faulty) {
      JsonNode answer =
          process.ask(PartyProcess.request("listen").put("faulty", faulty), "listening");
      return answer == null ? "" : answer.path("address").asText();
    }

    @Override
    public void stopIfNobodyCame() {
      process.say(PartyProcess.request("stop"));
    }

    @Override
    public Ending await() {
      return process.ending(process.ask(PartyProcess.request("await"), "ended"));
    }

    @Override
    public String takeOver() {
      JsonNode answer = process.ask(PartyProcess.request("take over"), "taken over");
      return answer == null ? "its process has died" : answer.path("problem").asText();
    }

    @Override
    public void fill(Path file) {
      process.ask(PartyProcess.request("fill").put("file", file.toString()), "filled");
    }

    @Override
    public boolean isAlive() {
      return process.isAlive();
    }

    @Override
    public String verify() {
      return RemoteSides.verify(process);
    }

    @Override
    public String end() {
      return process.end();
    }
  }
}
