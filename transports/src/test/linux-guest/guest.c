/*
 * The program of the Linux test guest: fills memory with contents that it can derive again, rewrites
 * them, and checks them for ever. It is started with the kernel's command line as its arguments.
 *
 *   pf.fill=MIB      memory to fill (64)
 *   pf.rate=MB/S     memory rewritten in place, in 10^6 bytes of touched pages a second (0: none)
 *   pf.span=MIB      the part, from its beginning, that is rewritten round and round (all)
 *   pf.fields=N      words that a rewrite changes in a page, beside header and checksum (8; 0 to 32)
 *   pf.check=MB/S    memory checked a second (0: as much as the processor can)
 *   pf.seed=N        what the contents are derived from (1)
 *   pf.beat=MS       period of the heartbeat on ttyS1 (5; 0: none)
 *   pf.damage=SEC    for tests of the tests: spoils a word of its memory SEC seconds after "PF READY"
 *
 * On ttyS0, a line each:
 *   PF READY pages=N uptime_ms=T
 *   PF ok round=R gen=G checked=C bad=B behind=P uptime_ms=T     after a round, or a second
 *   PF BAD page=P word=W gen=G expected=X found=Y                the first 100 wrong pages
 *   PF FAIL what                                                 and nothing after it
 * R counts the complete checks of all the memory, C the pages checked, G the times that all of the
 * span was rewritten, P the pages that the processor was too slow to rewrite. On ttyS1: a byte for
 * each beat, which counts up modulo 256.
 *
 * The contents compress to about 3/8 with zstd, page by page. One thread rewrites and checks in turns,
 * in page order, so that the generation of every page follows from the position of the rewriting: a
 * page that is older, or newer, is a wrong page.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { WORDS = 512, PAGE = WORDS * 8, CHECKSUM = WORDS - 1, MAX_FIELDS = 32, SLICE_PAGES = 32 };

static uint64_t fill_mib = 64, rate, span_mib, fields = 8, check_rate, seed = 1, beat_ms = 5, damage;
static uint64_t *memory, pages, span;
static uint64_t generation, cursor; /* pages below the cursor are one generation ahead */
static uint64_t round_number, checked, bad, behind;

static void line(const char *format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(text, sizeof text - 1, format, arguments);
  va_end(arguments);
  text[length++] = '\n';
  for (int at = 0; at < length;) {
    ssize_t written = write(1, text + at, (size_t)(length - at));
    if (written > 0) at += (int)written;
  }
}

/* The first process must not end: the kernel would panic, and its trace hide the reason. */
static void fail(const char *what) {
  line("PF FAIL %s: %s", what, strerror(errno));
  for (;;) pause();
}

static uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void sleep_until(uint64_t ns) {
  struct timespec time = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR) {
  }
}

/* The finalizer of SplitMix64 (Steele, Lea and Flood, 2014). */
static inline uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

static uint64_t key_of(uint64_t page) { return mix(seed * 0x9e3779b97f4a7c15u + page); }

/* One multiplication for a word: emulated processors are slow, and this runs for ever. */
static inline uint64_t random_word(uint64_t key, uint64_t i) {
  uint64_t x = (key + i) * 0xd1342543de82ef95u;
  return x ^ (x >> 32);
}

static const char text[64 * 8 + 1] =
    "the memory of a guest is copied while it runs and what it wrote "
    "is sent again until little is left; request for a page=4096 id: "
    "{\"name\": \"value\", \"state\": \"running\", \"error\": null, \"size\": 12}"
    "GET /index.html HTTP/1.1 Host: example.org Accept: text/html, */"
    "int main(void) { return first->next != last ? value : default; }"
    "2024-05-17T10:42:03.118Z INFO [worker-7] connection accepted on "
    "/usr/lib/x86_64-linux-gnu/libc.so.6 /usr/share/zoneinfo/Europe/P"
    "SELECT id, name, created_at FROM orders WHERE status = 'open' AN";

/* What a page holds, but for header, fields and checksum: the kinds of content of a running system. */
static void contents(uint64_t key, uint64_t *to) {
  switch (key >> 60) {
    case 0: case 1: case 2: case 3: case 4: /* text, of pieces that repeat */
      for (uint64_t i = 0; i < WORDS; i++) {
        memcpy(to + i, text + (random_word(key, i) & 63) * 8, 8);
      }
      break;
    case 5: case 6: case 7: case 8: case 9: case 10: case 11: /* records of pointers, counts and flags */
      for (uint64_t i = 0; i < WORDS; i += 8) {
        uint64_t a = random_word(key, i), b = random_word(key, i + 1);
        to[i] = 0xffff888000000000u | (a & 0x0fffffc0u);
        to[i + 1] = to[i] + 0x140;
        to[i + 2] = 0x0000000100000000u | (a >> 56);
        to[i + 3] = 0x00007f3a5c000000u | (b & 0x00fffff8u);
        to[i + 4] = 0;
        to[i + 5] = (b >> 60) ? 0x8000000000000421u : 0xffffffffffffffffu;
        to[i + 6] = b >> 32;
        to[i + 7] = 0xffffffff81000000u | (a >> 40 & 0xfff0u);
      }
      break;
    case 12: case 13: case 14: /* small numbers */
      for (uint64_t i = 0; i < WORDS; i++) {
        uint64_t a = random_word(key, i);
        to[i] = (a & 0xff) | (a >> 22 & 0x3f) << 32;
      }
      break;
    default: /* what does not compress: media, keys, what is compressed already */
      for (uint64_t i = 0; i < WORDS; i++) to[i] = mix(key + i);
  }
}

/* Where field k of a page is: one in each of equal parts of the page, behind the header. */
static uint64_t field_at(uint64_t key, uint64_t k) {
  uint64_t part = (WORDS - 2) / fields;
  return 1 + k * part + (key >> k) % part;
}

/* A number that changes in three of its bytes, beside others that stay. */
static uint64_t field_value(uint64_t key, uint64_t k, uint64_t gen) {
  return (key & 0x7fff000000000000u) | (random_word(key + gen * 64, k) & 0xffff00u) | (gen & 0xff);
}

static uint64_t header(uint64_t page, uint64_t gen) { return page << 32 | (gen & 0xffffffffu); }

static void derive(uint64_t page, uint64_t gen, uint64_t *to) {
  uint64_t key = key_of(page), sum = 0;
  contents(key, to);
  to[0] = header(page, gen);
  for (uint64_t k = 0; k < fields; k++) to[field_at(key, k)] = field_value(key, k, gen);
  for (int i = 0; i < CHECKSUM; i++) sum += to[i];
  to[CHECKSUM] = sum;
}

/* Takes the page at the cursor one generation on, as a program would: reads, and writes a few words. */
static void rewrite(void) {
  uint64_t *page = memory + cursor * WORDS, key = key_of(cursor), gen = generation + 1;
  uint64_t value = header(cursor, gen), sum = page[CHECKSUM] - page[0] + value;
  page[0] = value;
  for (uint64_t k = 0; k < fields; k++) {
    uint64_t *field = page + field_at(key, k);
    value = field_value(key, k, gen);
    sum += value - *field;
    *field = value;
  }
  page[CHECKSUM] = sum;
  if (++cursor == span) {
    cursor = 0;
    generation++;
  }
}

static void check(uint64_t page) {
  static uint64_t expected[WORDS];
  const uint64_t *found = memory + page * WORDS;
  uint64_t gen = page >= span ? 0 : generation + (page < cursor);
  derive(page, gen, expected);
  checked++;
  if (memcmp(expected, found, PAGE) == 0) return;
  if (bad++ >= 100) return;
  int i = 0;
  while (expected[i] == found[i]) i++;
  line("PF BAD page=%lu word=%d gen=%lu expected=%016lx found=%016lx", page, i, gen, expected[i],
       found[i]);
}

static void report(void) {
  line("PF ok round=%lu gen=%lu checked=%lu bad=%lu behind=%lu uptime_ms=%lu", round_number,
       generation, checked, bad, behind, now_ns() / 1000000);
}

/* A process of its own, which goes before the checking: the beats are to show when the guest runs. */
static void start_heart(void) {
  if (beat_ms == 0 || fork() != 0) return;
  struct sched_param first = {.sched_priority = 1};
  sched_setscheduler(0, SCHED_FIFO, &first);
  int port = open("/dev/ttyS1", O_WRONLY | O_NOCTTY | O_NONBLOCK);
  struct termios settings;
  if (port < 0 || tcgetattr(port, &settings) != 0) _exit(1);
  cfmakeraw(&settings);
  cfsetspeed(&settings, B115200);
  tcsetattr(port, TCSANOW, &settings);
  uint64_t period = beat_ms * 1000000, next = now_ns();
  for (unsigned char beat = 0;; beat++) {
    if (write(port, &beat, 1) < 0 && errno != EAGAIN) _exit(1);
    uint64_t now = now_ns();
    next = next + period > now ? next + period : now + period; /* never two beats at once */
    sleep_until(next);
  }
}

static void parameters(int count, char **arguments) {
  const struct { const char *name; uint64_t *to; } known[] = {
      {"pf.fill=", &fill_mib}, {"pf.rate=", &rate},        {"pf.span=", &span_mib},
      {"pf.seed=", &seed},     {"pf.check=", &check_rate}, {"pf.fields=", &fields},
      {"pf.beat=", &beat_ms},  {"pf.damage=", &damage}};
  for (int i = 1; i < count; i++) {
    if (strncmp(arguments[i], "pf.", 3) != 0) continue;
    int found = 0;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
      size_t length = strlen(known[k].name);
      if (strncmp(arguments[i], known[k].name, length) != 0) continue;
      char *end;
      *known[k].to = strtoul(arguments[i] + length, &end, 10);
      found = end != arguments[i] + length && *end == 0;
    }
    errno = EINVAL;
    if (!found) fail(arguments[i]);
  }
  pages = fill_mib * 256;
  span = span_mib == 0 || span_mib > fill_mib ? pages : span_mib * 256;
  errno = EINVAL;
  if (pages == 0 || fields > MAX_FIELDS) fail("pf.fill or pf.fields is out of range");
}

/* How many pages are due since a time at so many bytes a second; what is too late is given up. */
static uint64_t due(uint64_t *since, uint64_t now, uint64_t megabytes, uint64_t *lost) {
  uint64_t page_ns = PAGE * 1000 / megabytes, count = (now - *since) / page_ns;
  *since += count * page_ns;
  uint64_t most = 100000000 / page_ns + 1; /* what 0.1 s brings */
  if (count <= most) return count;
  *lost += count - most;
  return most;
}

int main(int count, char **arguments) {
  parameters(count, arguments);
  start_heart();
  memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("no memory for pf.fill");
  madvise(memory, pages * PAGE, MADV_HUGEPAGE); /* a fault for 512 pages instead of 512 faults */
  for (uint64_t page = 0; page < pages; page++) derive(page, 0, memory + page * WORDS);
  line("PF READY pages=%lu uptime_ms=%lu", pages, now_ns() / 1000000);

  uint64_t start = now_ns(), rewritten_at = start, checked_at = start, reported_at = start;
  uint64_t at = 0, unchecked = 0;
  for (;;) {
    uint64_t now = now_ns();
    if (rate != 0) {
      for (uint64_t n = due(&rewritten_at, now, rate, &behind); n > 0; n--) rewrite();
    }
    uint64_t n = SLICE_PAGES;
    if (check_rate != 0) n = due(&checked_at, now, check_rate, &unchecked);
    for (; n > 0; n--) {
      check(at);
      if (++at == pages) {
        at = 0;
        round_number++;
        if (now - reported_at >= 100000000) {
          report();
          reported_at = now;
        }
      }
    }
    if (now - reported_at >= 1000000000) {
      report();
      reported_at = now;
    }
    if (damage != 0 && now - start >= damage * 1000000000) {
      memory[pages / 2 * WORDS + 100] ^= 1u << 17;
      damage = 0;
    }
    if (check_rate != 0) sleep_until(now + 5000000);
  }
}
