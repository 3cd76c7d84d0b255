package io.pageflux.examples;

import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import java.util.stream.Stream;

/**
 * The command line's classes in jars, as the JVM has them where they are to start fast, and an
 * archive of those that a migration needs: hundreds of JVMs are started in these tests, and loading
 * classes is a good part of what each has to do.
 */
final class ClassArchive {

  private static final ClassArchive MADE = make();

  private final String classPath;
  private final List<String> options;

  private ClassArchive(String classPath, List<String> options) {
    this.classPath = classPath;
    this.options = options;
  }

  /** {@return the class path to start the command line with} */
  static String classPath() {
    return MADE.classPath;
  }

  /** {@return what has a JVM use the archive; nothing if there is none} */
  static List<String> options() {
    return MADE.options;
  }

  private static ClassArchive make() {
    try {
      Path folder = Files.createDirectories(Path.of("target", "class-archive")).toAbsolutePath();
      String classPath = jars(folder);
      Path archive = folder.resolve("classes.jsa");
      return new ClassArchive(classPath, write(archive, classPath) ? use(archive) : List.of());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static List<String> use(Path archive) {
    return List.of("-XX:SharedArchiveFile=" + archive, "-Xlog:disable");
  }

  /** What is tested, and the libraries; not the tests. */
  private static String jars(Path folder) throws IOException {
    List<String> jars = new ArrayList<>();
    for (String entry : System.getProperty("java.class.path").split(File.pathSeparator)) {
      Path path = Path.of(entry);
      if (Files.isRegularFile(path)) {
        jars.add(entry);
      } else if (path.endsWith("classes")) {
        jars.add(jar(path, folder.resolve(jars.size() + ".jar")).toString());
      }
    }
    return String.join(File.pathSeparator, jars);
  }

  private static Path jar(Path classes, Path jar) throws IOException {
    try (OutputStream file = Files.newOutputStream(jar);
        JarOutputStream entries = new JarOutputStream(file);
        Stream<Path> all = Files.walk(classes)) {
      for (Path path : all.filter(Files::isRegularFile).sorted().toList()) {
        entries.putNextEntry(new JarEntry(classes.relativize(path).toString()));
        Files.copy(path, entries);
        entries.closeEntry();
      }
    }
    return jar;
  }

  /** Has it written by a process in which memory moves there and back. */
  private static boolean write(Path archive, String classPath) throws IOException {
    Files.deleteIfExists(archive);
    List<String> command = new ArrayList<>(Cli.jvm(classPath));
    command.add(1, "-XX:ArchiveClassesAtExit=" + archive);
    command.addAll(List.of("recovery-bench", "--size=4m", "--repeat=1", "--codec=xbzrle+zstd:1"));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    process.inputReader().lines().forEach(line -> {});
    return Files.exists(archive);
  }
}
