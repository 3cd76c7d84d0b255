package io.pageflux.examples.fault;

import io.pageflux.transport.fault.Place;
import java.util.random.RandomGenerator;

/** The records of WIRE-FORMAT.md at which something happens, with their numbers. */
enum RecordName {
  LAYOUT(2),
  READY(3),
  ROUND_BEGIN(4),
  PAGES(5),
  ROUND_END(6),
  ROUND_ACK(7),
  DEVICE_STATE(9),
  END(10),
  PREPARED(11),
  COMMIT(12),
  RUNNING(13),
  RESUME_POINT(19),
  PAGE_HASHES(20),
  POSTCOPY_ADVISE(32),
  POSTCOPY_LISTEN(33),
  DISCARD(34),
  POSTCOPY_BEGIN(35),
  PAGE_REQUEST(36),
  POSTCOPY_END(37),
  POSTCOPY_COMPLETE(38),
  GUEST_RUNS(39),
  POSTCOPY_RESUME(40);

  private final int type;

  RecordName(int type) {
    this.type = type;
  }

  /** {@return the place before the first of these records} */
  Place place() {
    return Place.beforeRecord(type);
  }

  static RecordName oneOf(RandomGenerator random, RecordName... names) {
    return names[random.nextInt(names.length)];
  }

  /** {@return a text about places, with the records' names} */
  static String in(String text) {
    String named = text;
    for (RecordName name : values()) {
      named = named.replaceAll("a record of type " + name.type + "\\b", name.name());
    }
    return named;
  }
}
