package io.pageflux.prediction;

/**
 * What pages become on the wire that were dirtied within some time.
 *
 * @param seconds that time
 * @param sampled pages that this was learned from
 * @param contentPart of the dirty pages, how many are not zero
 * @param rawBytes bytes of the wire per dirty page, sent whole
 * @param deltaBytes bytes of the wire per dirty page, sent as deltas where that is less; as many as
 *     {@code rawBytes} without deltas
 */
public record PageLesson(
    double seconds, int sampled, double contentPart, double rawBytes, double deltaBytes) {

  /** {@return this lesson and another one, so much of the other} */
  PageLesson mix(PageLesson other, double part) {
    return new PageLesson(
        seconds + part * (other.seconds - seconds),
        Math.min(sampled, other.sampled),
        contentPart + part * (other.contentPart - contentPart),
        rawBytes + part * (other.rawBytes - rawBytes),
        deltaBytes + part * (other.deltaBytes - deltaBytes));
  }
}
