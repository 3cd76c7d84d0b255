package io.pageflux.qemu.multifd;

import io.pageflux.page.PageBatch;

/** What comes over a multifd channel. */
public sealed interface MultifdElement {

  /** The channel's first packet. */
  record Init(MultifdInit init) implements MultifdElement {}

  /**
   * Pages, raw and zero ones. A packet becomes one batch, or more if it does not fit one or its
   * pages do not ascend.
   *
   * @param batch belongs to whoever received it
   * @param packetNumber the packet's; QEMU does not see to it that it is unique
   */
  record Pages(PageBatch batch, long packetNumber) implements MultifdElement {}

  /**
   * The channel's part of a sync point: no page behind it, on any channel, may be applied before
   * all pages in front of it, on every channel.
   */
  record Sync(long packetNumber) implements MultifdElement {}
}
