package io.pageflux.build;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
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
  private static final Pattern TEST = Pattern.compile("`[A-Z][A-Za-z]*Test`");

  /** What QEMU's {@code ram.c} has, by its own names. */
  private static final List<String> PARTS =
      List.of(
          // Handlers.
          "save_setup",
          "load_setup",
          "save_live_iterate",
          "save_live_complete_precopy",
          "save_live_complete_postcopy",
          "state_pending_estimate",
          "state_pending_exact",
          "is_active",
          "has_postcopy",
          "load_state",
          "save_cleanup",
          "load_cleanup",
          "resume_prepare",
          "switchover_ack_needed",
          "save_page",
          // Flags of records.
          "RAM_SAVE_FLAG_FULL",
          "RAM_SAVE_FLAG_ZERO",
          "RAM_SAVE_FLAG_MEM_SIZE",
          "RAM_SAVE_FLAG_PAGE",
          "RAM_SAVE_FLAG_EOS",
          "RAM_SAVE_FLAG_CONTINUE",
          "RAM_SAVE_FLAG_XBZRLE",
          "RAM_SAVE_FLAG_HOOK",
          "RAM_SAVE_FLAG_COMPRESS_PAGE",
          "RAM_SAVE_FLAG_MULTIFD_FLUSH",
          // Counters.
          "transferred",
          "remaining",
          "total",
          "duplicate",
          "skipped",
          "normal",
          "normal-bytes",
          "dirty-pages-rate",
          "mbps",
          "dirty-sync-count",
          "postcopy-requests",
          "page-size",
          "multifd-bytes",
          "pages-per-second",
          "precopy-bytes",
          "downtime-bytes",
          "postcopy-bytes",
          "dirty-sync-missed-zero-copy",
          "cache-size",
          "cache-miss",
          "cache-miss-rate",
          "encoding-rate",
          "overflow",
          "busy",
          "busy-rate",
          "compressed-size",
          "compression-rate",
          "cpu-throttle-percentage",
          "postcopy-blocktime",
          "dirty-limit-throttle-time-per-round",
          "total-time",
          "setup-time",
          "downtime",
          "expected-downtime",
          "error-desc",
          // Threads, caches and queues.
          "do_data_compress",
          "do_data_decompress",
          "bitmap_mutex",
          "src_page_req_mutex",
          "src_page_requests",
          "ram_save_queue_pages",
          "unqueue_page",
          "page_cache.c",
          "xbzrle_cache_resize",
          "colo_cache",
          "clear_bmap",
          "receivedmap",
          "postcopy_place_page",
          "source_return_path_thread",
          // Ways to send, and not to.
          "qemu_guest_free_page_hint",
          "ramblock_dirty_bitmap_clear_discarded_pages",
          "background-snapshot",
          "zero-copy-send",
          "mapped-ram",
          "x-ignore-shared",
          "release-ram",
          "postcopy-preempt",
          "migration_trigger_throttle",
          "acct_update_position");

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

  @Test
  void everyRowHasACounterpartAndATest() throws IOException {
    List<String> without = new ArrayList<>();
    for (String[] cells : rows()) {
      if (cells.length != 4
          || cells[1].isBlank()
          || cells[2].isBlank()
          || !TEST.matcher(cells[3]).find()) {
        without.add(String.join("|", cells));
      }
    }
    assertThat(without).isEmpty();
  }

  @Test
  void everyPartOfQemuIsInTheFirstColumn() throws IOException {
    String first = rows().stream().map(cells -> cells[1]).collect(Collectors.joining("\n"));
    assertThat(PARTS).allSatisfy(part -> assertThat(first).contains("`" + part + "`"));
  }

  /** The rows of all tables, without their heads. */
  private static List<String[]> rows() throws IOException {
    return Files.readAllLines(Path.of("QEMU-RAM.md")).stream()
        .filter(line -> line.startsWith("|"))
        .filter(line -> !line.startsWith("| QEMU") && !line.startsWith("| ---"))
        .map(line -> line.split("\\|"))
        .toList();
  }

  private static Stream<Path> walk(Path directory) {
    try {
      return Files.walk(directory);
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }
}
