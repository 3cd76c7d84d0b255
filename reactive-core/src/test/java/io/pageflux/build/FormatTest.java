package io.pageflux.build;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.googlejavaformat.java.Formatter;
import com.google.googlejavaformat.java.ImportOrderer;
import com.google.googlejavaformat.java.JavaFormatterOptions;
import com.google.googlejavaformat.java.RemoveUnusedImports;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * The sources of all modules look as google-java-format writes them.
 *
 * <p>A test rather than a plug-in, because it runs on the JDK that compiles the sources; Maven may
 * run on an older one, which cannot parse them. {@code mvn test -pl reactive-core -Dtest=FormatTest
 * -Dpageflux.format=apply} formats what is not.
 */
class FormatTest {

  @Test
  void everySourceIsFormatted() throws Exception {
    Path root = Path.of(System.getProperty("pageflux.root", ".."));
    boolean apply = "apply".equals(System.getProperty("pageflux.format"));
    Formatter formatter = new Formatter(JavaFormatterOptions.defaultOptions());
    List<Path> sources = new ArrayList<>();
    for (String module : List.of("reactive-core", "transports", "examples")) {
      Path src = root.resolve(module).resolve("src");
      if (Files.isDirectory(src)) {
        try (Stream<Path> files = Files.walk(src)) {
          files.filter(file -> file.toString().endsWith(".java")).forEach(sources::add);
        }
      }
    }
    assertThat(sources).isNotEmpty();
    List<String> unformatted = new ArrayList<>();
    for (Path source : sources) {
      String text = Files.readString(source);
      String formatted =
          formatter.formatSource(
              ImportOrderer.reorderImports(
                  RemoveUnusedImports.removeUnusedImports(text),
                  JavaFormatterOptions.Style.GOOGLE));
      if (!formatted.equals(text)) {
        if (apply) {
          Files.writeString(source, formatted);
        } else {
          unformatted.add(root.relativize(source).toString());
        }
      }
    }
    assertThat(unformatted)
        .as("to format them: mvn test -pl reactive-core -Dtest=FormatTest -Dpageflux.format=apply")
        .isEmpty();
  }
}
