package io.pageflux.qemu.qmp;

import com.fasterxml.jackson.databind.JsonNode;
import java.time.Instant;

/**
 * Something that QEMU tells without being asked, such as {@code STOP}, {@code RESUME} or {@code
 * MIGRATION}.
 *
 * @param name its name
 * @param data what it says; an object, empty if QEMU sent none
 * @param timestamp when it happened by QEMU's clock; the epoch if QEMU could not tell
 */
public record QmpEvent(String name, JsonNode data, Instant timestamp) {}
