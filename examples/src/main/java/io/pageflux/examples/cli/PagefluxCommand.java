package io.pageflux.examples.cli;

import io.pageflux.convergence.Intent;
import io.pageflux.convergence.RampedDowntime;
import java.io.PrintWriter;
import java.time.Duration;
import java.util.Map;
import java.util.SequencedMap;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine.Spec;

/** The command above all commands: what holds for each of them. */
@Command(
    name = "pageflux",
    scope = ScopeType.INHERIT,
    mixinStandardHelpOptions = true,
    versionProvider = Version.class,
    synopsisSubcommandLabel = "COMMAND",
    sortOptions = false,
    header = "Live-migrate the memory of a running guest as a reactive stream.",
    exitCodeListHeading = "%nExit codes:%n",
    exitCodeList = {
      " 0:it worked",
      " 1:it failed; a guest that was to be migrated goes on at the source",
      " 2:the command line makes no sense",
      " 3:the connection broke in the middle of the hand-over: the guest is paused at the source,"
          + " and may run at the destination",
      "130:interrupted by Ctrl-C (143: by SIGTERM), and stopped in order"
    },
    footerHeading =
        "%nSizes are bytes, or have a suffix k, m, g, t (powers of 1024); rates too, per"
            + " second, or bits with kbit, mbit, gbit (powers of 1000); durations have a unit us, ms,"
            + " s, m, h.%n%nEnvironment:%n",
    footer = {
      "  PAGEFLUX_JAVA_HOME   the JDK to run with",
      "  PAGEFLUX_JAVA_OPTS   options for the JVM, such as -Xmx1g"
    })
public final class PagefluxCommand implements Runnable {

  private final Console console;

  @Spec private @Nullable CommandSpec spec;

  @Option(
      names = {"-v", "--verbose"},
      scope = ScopeType.INHERIT,
      order = 900,
      description = "Show the libraries' logs on standard error.")
  private boolean verbose;

  @Option(
      names = {"-X", "--stacktrace"},
      scope = ScopeType.INHERIT,
      order = 901,
      description = "Show where in the program a failure came from.")
  private boolean stacktrace;

  private PagefluxCommand(Console console) {
    this.console = console;
  }

  /**
   * Runs a command line.
   *
   * @param commands the commands by their names; what makes one, which is annotated for picocli
   * @param args which of them, and its arguments
   * @return the exit code
   */
  public static int run(
      Console console, SequencedMap<String, Function<Console, Object>> commands, String... args) {
    PagefluxCommand top = new PagefluxCommand(console);
    CommandLine line = new CommandLine(top);
    needed(commands, args).forEach((name, make) -> line.addSubcommand(name, make.apply(console)));
    // These are for the commands that have been added by now.
    line.registerConverter(ByteSize.class, ByteSize::parse);
    line.registerConverter(CacheSize.class, CacheSize::parse);
    line.registerConverter(ByteRate.class, ByteRate::parse);
    line.registerConverter(Endpoint.class, Endpoint::parse);
    line.registerConverter(CodecChoice.class, CodecChoice::parse);
    line.registerConverter(Duration.class, Durations::parse);
    line.registerConverter(Intent.class, IntentChoice::parse);
    line.registerConverter(RampedDowntime.Ramp.class, RampChoice::parse);
    line.setCaseInsensitiveEnumValuesAllowed(true);
    line.setUsageHelpAutoWidth(true);
    line.setOut(new PrintWriter(console.out(), true));
    line.setErr(new PrintWriter(console.err(), true));
    line.setExecutionStrategy(top::execute);
    line.setParameterExceptionHandler(top::refuse);
    line.setExecutionExceptionHandler(top::fail);
    return line.execute(args);
  }

  /**
   * {@return the command that is named, or all of them if none is} To look at all the options of
   * all the commands takes most of the time in which the program starts.
   */
  private static Map<String, Function<Console, Object>> needed(
      SequencedMap<String, Function<Console, Object>> commands, String... args) {
    for (String arg : args) {
      // What comes before the command are flags, without values.
      if (!arg.startsWith("-")) {
        Function<Console, Object> make = commands.get(arg);
        return make == null ? commands : Map.of(arg, make);
      }
    }
    return commands;
  }

  private int execute(ParseResult parsed) {
    Logging.configure(verbose);
    return new CommandLine.RunLast().execute(parsed);
  }

  @Override
  public void run() {
    if (spec != null) {
      throw new ParameterException(
          spec.commandLine(),
          "a command is needed: "
              + spec.subcommands().values().stream()
                  .map(CommandLine::getCommandSpec)
                  .filter(command -> !command.usageMessage().hidden())
                  .map(CommandSpec::name)
                  .collect(Collectors.joining(", ")));
    }
  }

  private int refuse(ParameterException e, String[] args) {
    say(
        "%s (see '%s --help')"
            .formatted(
                Failures.oneLine(String.valueOf(e.getMessage())),
                e.getCommandLine().getCommandSpec().qualifiedName()));
    trace(e);
    return ExitCode.USAGE;
  }

  private int fail(Exception e, CommandLine line, ParseResult parsed) {
    say(Failures.describe(e));
    trace(e);
    return e instanceof CliException known ? known.exitCode() : ExitCode.FAILED;
  }

  private void say(String message) {
    console.err().println("pageflux: " + message);
  }

  private void trace(Exception e) {
    if (stacktrace) {
      e.printStackTrace(console.err());
    }
  }
}
