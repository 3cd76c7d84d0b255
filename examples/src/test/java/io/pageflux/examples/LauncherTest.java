package io.pageflux.examples;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The script {@code examples/pageflux}, on a path of its own with a JDK and a Maven that only note.
 */
class LauncherTest {

  private static final List<String> TOOLS =
      List.of(
          "cat",
          "dirname",
          "find",
          "flock",
          "head",
          "mkdir",
          "mv",
          "readlink",
          "rm",
          "sed",
          "touch",
          "true");

  @TempDir Path folder = Path.of("");
  private Path root = Path.of("");
  private Path bin = Path.of("");
  private Path jdk = Path.of("");
  private Path maven = Path.of("");
  private Path built = Path.of("");

  @BeforeEach
  void makeTree() throws IOException {
    root = Files.createDirectories(folder.resolve("a tree with blanks"));
    Path sources = Files.createDirectories(root.resolve("examples/src/main/java"));
    Files.writeString(sources.resolve("A.java"), "class A {}");
    Files.writeString(root.resolve("pom.xml"), "<project/>");
    Files.writeString(root.resolve("examples/pom.xml"), "<project/>");
    Files.copy(
        Path.of(System.getProperty("pageflux.root", "..")).resolve("examples/pageflux"),
        root.resolve("examples/pageflux"),
        StandardCopyOption.COPY_ATTRIBUTES);
    bin = Files.createDirectories(folder.resolve("bin"));
    for (String tool : TOOLS) {
      script(bin.resolve(tool), "exec '%s' \"$@\"".formatted(which(tool)));
    }
    jdk = makeJdk(folder.resolve("a jdk"), "25.0.1");
    built = folder.resolve("built");
    maven =
        script(
            folder.resolve("mvn"),
            "echo \"$*\" >>'%s'; mkdir -p examples/target/lib".formatted(built));
  }

  private static Path which(String tool) {
    for (String folder : System.getenv("PATH").split(":")) {
      Path candidate = Path.of(folder, tool);
      if (Files.isExecutable(candidate)) {
        return candidate;
      }
    }
    throw new IllegalStateException("no " + tool + " on the path");
  }

  private static Path script(Path path, String text) throws IOException {
    Files.writeString(path, "#!" + which("bash") + "\n" + text + "\n");
    return Files.setPosixFilePermissions(path, PosixFilePermissions.fromString("rwxr-xr-x"));
  }

  private static Path makeJdk(Path home, String version) throws IOException {
    Files.createDirectories(home.resolve("bin"));
    Files.writeString(home.resolve("release"), "JAVA_VERSION=\"" + version + "\"\n");
    script(home.resolve("bin/javac"), "");
    script(home.resolve("bin/java"), "for a in \"$@\"; do echo \"<$a>\"; done; exit 7");
    return home;
  }

  private record Result(int exitCode, String out, String err) {}

  private Result launch(Path script, Map<String, String> environment, String... arguments)
      throws Exception {
    List<String> command = new ArrayList<>(List.of(which("bash").toString()));
    command.add(script.toString());
    command.addAll(List.of(arguments));
    Path out = folder.resolve("out");
    Path err = folder.resolve("err");
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .directory(folder.toFile())
            .redirectOutput(out.toFile())
            .redirectError(err.toFile());
    builder.environment().clear();
    builder.environment().put("PATH", bin.toString());
    builder.environment().put("HOME", folder.toString());
    builder.environment().putAll(environment);
    int exitCode = builder.start().waitFor();
    return new Result(
        exitCode,
        Files.readString(out, StandardCharsets.UTF_8),
        Files.readString(err, StandardCharsets.UTF_8));
  }

  private Map<String, String> tools() {
    return Map.of("PAGEFLUX_JAVA_HOME", jdk.toString(), "PAGEFLUX_MVN", maven.toString());
  }

  private Path launcher() {
    return root.resolve("examples/pageflux");
  }

  private long builds() throws IOException {
    return Files.exists(built) ? Files.readAllLines(built).size() : 0;
  }

  @Test
  void theFirstRunBuildsAndTheSecondDoesNot() throws Exception {
    Result first = launch(launcher(), tools(), "demo", "an argument");

    assertThat(first.err()).isEqualTo("Building Pageflux (first run) ...\n");
    assertThat(first.exitCode()).as("that of Java").isEqualTo(7);
    assertThat(first.out())
        .contains("<--enable-native-access=ALL-UNNAMED>\n<--illegal-native-access=deny>\n")
        .contains("<" + root + "/examples/target/classes:" + root + "/examples/target/lib/*>")
        .endsWith("<io.pageflux.examples.Main>\n<demo>\n<an argument>\n");
    assertThat(Files.readString(built)).isEqualTo("-q -B -DskipTests package\n");

    Result second = launch(launcher(), tools(), "demo");
    assertThat(second.err()).isEmpty();
    assertThat(builds()).isEqualTo(1);
  }

  @Test
  void aChangedSourceIsBuiltAgain() throws Exception {
    launch(launcher(), tools());
    Files.setLastModifiedTime(
        root.resolve("examples/src/main/java/A.java"),
        FileTime.from(Instant.now().plusSeconds(60)));

    assertThat(launch(launcher(), tools()).err())
        .isEqualTo("Building Pageflux (sources have changed) ...\n");
    assertThat(builds()).isEqualTo(2);
  }

  @Test
  void itRunsThroughALinkFromAnywhere() throws Exception {
    Path link = folder.resolve("link");
    Files.createSymbolicLink(link, Path.of("a tree with blanks/examples/pageflux"));

    assertThat(launch(link, tools()).out())
        .contains("<" + root + "/examples/target/classes:" + root + "/examples/target/lib/*>");
  }

  @Test
  void optionsOfTheJvmArePassedOn() throws Exception {
    Map<String, String> environment = new java.util.HashMap<>(tools());
    environment.put("PAGEFLUX_JAVA_OPTS", "-Xmx1g -Da=b");

    assertThat(launch(launcher(), environment).out()).contains("<-Xmx1g>\n<-Da=b>\n<-cp>");
  }

  @Test
  void aBuildThatFailsIsShownAndTriedAgain() throws Exception {
    script(maven, "echo the reason; exit 1");
    Result failed = launch(launcher(), tools());
    assertThat(failed.exitCode()).isEqualTo(1);
    assertThat(failed.err()).contains("the reason\n", "pageflux: the build failed");

    script(maven, "mkdir -p examples/target/lib");
    assertThat(launch(launcher(), tools()).exitCode()).isEqualTo(7);
  }

  @Test
  void aJdkIsFoundByItself() throws Exception {
    makeJdk(folder.resolve(".jdks/old"), "21.0.1");
    makeJdk(folder.resolve(".sdkman/candidates/java/new"), "26-ea");
    Map<String, String> environment =
        Map.of("PAGEFLUX_MVN", maven.toString(), "JAVA_HOME", folder.resolve("none").toString());
    // It may be one of the machine's; no program is there to run with it.
    assertThat(launch(launcher(), environment, "--version").err())
        .startsWith("Building Pageflux (first run) ...\n");
  }

  @Test
  void aJdkThatIsTooOldIsRefused() throws Exception {
    Path old = makeJdk(folder.resolve("old"), "1.8.0_402");
    Result refused =
        launch(
            launcher(),
            Map.of("PAGEFLUX_JAVA_HOME", old.toString(), "PAGEFLUX_MVN", maven.toString()));

    assertThat(refused.exitCode()).isEqualTo(1);
    assertThat(refused.err())
        .isEqualTo("pageflux: PAGEFLUX_JAVA_HOME=%s is not a JDK 25 or later\n".formatted(old));
    assertThat(builds()).isZero();
  }

  @Test
  void aMissingMavenIsNamed() throws Exception {
    Result refused = launch(launcher(), Map.of("PAGEFLUX_JAVA_HOME", jdk.toString()));

    assertThat(refused.exitCode()).isEqualTo(1);
    assertThat(refused.err()).startsWith("pageflux: Maven 3.8 or later is needed").hasLineCount(1);
  }
}
