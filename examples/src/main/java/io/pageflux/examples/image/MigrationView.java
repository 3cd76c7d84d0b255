package io.pageflux.examples.image;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.report.JsonReport;
import io.pageflux.examples.report.MigrationJson;
import io.pageflux.examples.report.MigrationSummary;
import io.pageflux.examples.report.MigrationWatch;
import io.pageflux.examples.report.ProgressDisplay;
import io.pageflux.migration.MigrationEvent;
import io.pageflux.migration.MigrationInfo;
import io.pageflux.migration.MigrationStatus;
import java.io.PrintStream;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;

/** Shows a migration of one of the commands: progress, the end, and the JSON report. */
public final class MigrationView {

  private final Console console;
  private final JsonReport json;
  private final ProgressDisplay progress;
  private final MigrationWatch watch = new MigrationWatch(this::show);
  private volatile MigrationStatus status = MigrationStatus.SETUP;
  private int round;

  /**
   * Made before the migration, so that a report that cannot be written is told of in time.
   *
   * @param jsonTarget see {@link JsonReport}
   */
  public MigrationView(Console console, @Nullable String jsonTarget) {
    this.console = console;
    this.json = new JsonReport(jsonTarget, console.out());
    this.progress = ProgressDisplay.onStandardError(console.err());
    json.requireWritable();
  }

  /** {@return where people read: standard output, unless that is the report's} */
  public PrintStream people() {
    return json.takesStandardOutput() ? console.err() : console.out();
  }

  private void show(MigrationEvent event) {
    switch (event) {
      case MigrationEvent.StatusChanged changed -> reached(changed.status());
      case MigrationEvent.RoundStarted started -> round = started.round();
      case MigrationEvent.Progress latest -> progress.show(MigrationJson.of(latest.info()), round);
      default -> {}
    }
  }

  private void reached(MigrationStatus next) {
    if (next != MigrationStatus.FAILED && next != MigrationStatus.CANCELLED) {
      status = next;
    }
    if (next == MigrationStatus.PRE_SWITCHOVER) {
      progress.clear();
      people().println("the guest is paused: the migration waits to be continued");
    }
  }

  /** {@return how far the migration came} */
  public MigrationStatus reached() {
    return status;
  }

  /**
   * Shows a migration until its end. If it fails, the report is written before the failure is
   * thrown.
   */
  public MigrationInfo follow(Flux<MigrationEvent> events) {
    MigrationInfo info;
    try {
      info = watch.follow(events);
    } catch (RuntimeException e) {
      progress.clear();
      throw e;
    }
    progress.clear();
    ObjectNode report = MigrationJson.of(info);
    json.write(report);
    MigrationSummary.rounds(report).forEach(people()::println);
    MigrationSummary.steps(report).forEach(people()::println);
    MigrationSummary.totals(report).forEach(people()::println);
    return info;
  }

  /**
   * Writes the report of a migration that failed.
   *
   * @param message why, for people
   */
  public void reportFailure(Throwable failure, String message) {
    json.write(MigrationJson.failed(watch.last(), failure, message));
  }
}
