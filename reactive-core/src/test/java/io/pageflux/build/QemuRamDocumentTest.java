package io.pageflux.build;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** What {@code QEMU-RAM.md} says is here is here. */
class QemuRamDocumentTest {

  private static final Pattern NAME = Pattern.compile("`([A-Z][A-Za-z]*[a-z][A-Za-z]*)`");

  @Test
  void everyClassAndTestThatItNamesExists() throws IOException {
    Path root = Path.of("..").toRealPath();
    Set<String> sources;
    try (Stream<Path> files =
        Stream.of("reactive-core", "transports", "examples")
            .map(module -> root.resolve(module).resolve("src"))
            .filter(Files::isDirectory)
            .flatMap(QemuRamDocumentTest::walk)) {
      sources =
          files
              .map(file -> file.getFileName().toString())
              .filter(name -> name.endsWith(".java"))
              .map(name -> name.substring(0, name.length() - ".java".length()))
              .collect(Collectors.toSet());
    }
    Set<String> missing = new TreeSet<>();
    int named = 0;
    for (String line : Files.readAllLines(Path.of("QEMU-RAM.md"))) {
      List<String> cells = List.of(line.split("\\|"));
      if (cells.size() < 4) {
        continue;
      }
      // The first column is QEMU's.
      Matcher names = NAME.matcher(String.join("|", cells.subList(2, cells.size())));
      while (names.find()) {
        named++;
        if (!sources.contains(names.group(1))) {
          missing.add(names.group(1));
        }
      }
    }
    assertThat(named).isGreaterThan(80);
    assertThat(missing).isEmpty();
  }

  private static Stream<Path> walk(Path directory) {
    try {
      return Files.walk(directory);
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }
}
