package io.pageflux.examples;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.io.StringWriter;
import java.net.URI;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The programs in the README are programs. */
class ReadmeTest {

  private static final String IMPORTS =
      """
      import static java.lang.foreign.ValueLayout.JAVA_LONG;
      import io.pageflux.codec.*;
      import io.pageflux.dirty.*;
      import io.pageflux.memory.*;
      import io.pageflux.migration.*;
      import io.pageflux.operator.*;
      import io.pageflux.page.*;
      import io.pageflux.transport.*;
      import java.time.Duration;
      import reactor.core.scheduler.*;
      """;

  private static List<String> programs() throws Exception {
    Path readme = Path.of(System.getProperty("pageflux.root", ".."), "README.md");
    Matcher blocks =
        Pattern.compile("```java\n(.*?)```", Pattern.DOTALL).matcher(Files.readString(readme));
    return blocks.results().map(block -> block.group(1)).toList();
  }

  private static void compile(String body, Path classes) {
    String source =
        IMPORTS
            + "public class Readme {\n  public static void main(String[] args) {\n"
            + body
            + "  }\n"
            + "  static GuestMemory memory; static Guest guest; static Connector connector;\n"
            + "  static Acceptor acceptor;\n}\n";
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    StringWriter messages = new StringWriter();
    boolean compiled =
        compiler
            .getTask(
                messages,
                null,
                null,
                List.of("-proc:none", "-d", classes.toString()),
                null,
                List.of(
                    new SimpleJavaFileObject(
                        URI.create("string:///Readme.java"), JavaFileObject.Kind.SOURCE) {
                      @Override
                      public CharSequence getCharContent(boolean ignoreEncodingErrors) {
                        return source;
                      }
                    }))
            .call();
    assertThat(compiled).as(messages.toString()).isTrue();
  }

  @Test
  void thePipelineCompilesAndMovesWhatTheGuestWrote(@TempDir Path classes) throws Exception {
    String pipeline = programs().getFirst();
    assertThat(pipeline.lines().filter(line -> !line.isBlank())).hasSizeLessThanOrEqualTo(20);
    compile(pipeline, classes);
    ByteArrayOutputStream printed = new ByteArrayOutputStream();
    PrintStream before = System.out;
    System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
    try (URLClassLoader loader = new URLClassLoader(new URL[] {classes.toUri().toURL()})) {
      loader
          .loadClass("Readme")
          .getMethod("main", String[].class)
          .invoke(null, (Object) new String[0]);
    } finally {
      System.setOut(before);
    }
    // Before it comes what is logged of the tracker.
    assertThat(printed.toString(StandardCharsets.UTF_8).lines().toList()).endsWith("42");
  }

  @Test
  void theMigrationCompiles(@TempDir Path classes) throws Exception {
    compile(programs().get(1), classes);
  }
}
