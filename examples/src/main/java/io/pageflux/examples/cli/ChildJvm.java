package io.pageflux.examples.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** How the command line is started once more, in a JVM like this one. */
public final class ChildJvm {

  private ChildJvm() {}

  /**
   * {@return the command, up to the arguments of the command line} Those of {@code
   * PAGEFLUX_JAVA_OPTS} are among its options.
   *
   * @param defaults options that the user's may replace
   * @param fixed options that replace the user's
   */
  public static List<String> command(List<String> defaults, List<String> fixed) {
    List<String> command = new ArrayList<>(java());
    command.addAll(defaults);
    command.addAll(usersOptions());
    command.addAll(fixed);
    command.addAll(List.of("-cp", System.getProperty("java.class.path")));
    command.add("io.pageflux.examples.Main");
    return command;
  }

  /** {@return this JVM's program, and the options that the launcher gives each} */
  public static List<String> java() {
    return List.of(
        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
        "--enable-native-access=ALL-UNNAMED",
        "--illegal-native-access=deny",
        "-XX:+UseSerialGC");
  }

  private static List<String> usersOptions() {
    String options = System.getenv("PAGEFLUX_JAVA_OPTS");
    return options == null || options.isBlank()
        ? List.of()
        : Arrays.asList(options.strip().split("\\s+"));
  }
}
