package io.pageflux.examples.report;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.pageflux.examples.cli.CliException;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/** Where {@code --json} wants the report. */
public final class JsonReport {

  private static final ObjectMapper MAPPER = new ObjectMapper();
  private static final String STANDARD_OUTPUT = "-";

  private final @Nullable String target;
  private final PrintStream out;

  /**
   * @param target a file, {@code -} for standard output, or null for no report
   * @param out standard output
   */
  public JsonReport(@Nullable String target, PrintStream out) {
    this.target = target;
    this.out = out;
  }

  /** {@return whether standard output is the report's, so that nothing else may go there} */
  public boolean takesStandardOutput() {
    return STANDARD_OUTPUT.equals(target);
  }

  /** Fails now rather than after a long migration if the file cannot be written. */
  public void requireWritable() {
    if (target == null || takesStandardOutput()) {
      return;
    }
    Path folder = Path.of(target).toAbsolutePath().getParent();
    if (Files.isDirectory(Path.of(target)) || folder == null || !Files.isWritable(folder)) {
      throw new CliException("the report cannot be written to " + target);
    }
  }

  /** Writes the report if one is wanted. */
  public void write(JsonNode report) {
    if (target == null) {
      return;
    }
    String text = text(report) + System.lineSeparator();
    if (takesStandardOutput()) {
      out.print(text);
      out.flush();
      return;
    }
    try {
      Files.writeString(Path.of(target), text);
    } catch (IOException e) {
      throw new CliException(
          "the report cannot be written to " + target + ": " + e.getMessage(), e);
    }
  }

  private static String text(JsonNode report) {
    try {
      return MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(report);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e);
    }
  }
}
