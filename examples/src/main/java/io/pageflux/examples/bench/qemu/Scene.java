package io.pageflux.examples.bench.qemu;

/**
 * A link, and what the guest does meanwhile.
 *
 * @param rate as {@code tc} writes it, or {@link ShapedLink#UNLIMITED}
 * @param rewrittenPerSecond in 10^6 bytes of touched pages; 0: the guest is idle
 * @param defaultsTarget the most that warm relays may take, as a part of QEMU's defaults
 * @param bestTarget the same of QEMU's best own setting; 0: nothing is asked for
 */
record Scene(String rate, int rewrittenPerSecond, double defaultsTarget, double bestTarget) {

  @Override
  public String toString() {
    String link = rate.equals(ShapedLink.UNLIMITED) ? "unlimited link" : "link of " + rate;
    return link
        + (rewrittenPerSecond == 0
            ? ", idle guest"
            : ", guest rewrites " + rewrittenPerSecond + " MB/s");
  }
}
