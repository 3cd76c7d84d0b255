package io.pageflux.migration;

import java.time.Duration;

/**
 * What has yet to be read and sent: QEMU's {@code state_pending}.
 *
 * @param bytes bytes of pages that are dirty and have not been read
 * @param exact whether the dirty pages were collected for this answer. If not, the pages that were
 *     written since the last time are not in it, and pages that were written again before the round
 *     under way came to them are in it twice
 * @param age how long ago the dirty pages were collected
 */
public record Pending(long bytes, boolean exact, Duration age) {}
