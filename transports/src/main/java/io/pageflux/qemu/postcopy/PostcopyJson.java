package io.pageflux.qemu.postcopy;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Locale;

/** How far a lazy resume is, as JSON; sizes are bytes. */
public final class PostcopyJson {

  private PostcopyJson() {}

  /** {@return the progress} */
  public static ObjectNode of(PostcopyInfo info) {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("status", info.status().name().toLowerCase(Locale.ROOT).replace('_', '-'));
    json.put("ram-bytes", info.ramBytes());
    json.put("pages", info.pages());
    json.put("pages-left", info.pagesLeft());
    json.put("postcopy-requests", info.requests());
    json.put("vain-requests", info.vainRequests());
    json.put("start-bytes", info.startBytes());
    json.put("device-bytes", info.deviceBytes());
    json.put("requested-bytes", info.requestedBytes());
    json.put("background-bytes", info.backgroundBytes());
    json.put("zero-pages", info.zeroPages());
    json.put("whole-pages", info.wholePages());
    json.put("recoveries", info.recoveries());
    ServiceTimes times = info.serviceTimes();
    json.putObject("service-us")
        .put("count", times.count())
        .put("median", times.quantileNanos(0.5) / 1e3)
        .put("p99", times.quantileNanos(0.99) / 1e3)
        .put("max", times.maxNanos() / 1e3)
        .put("mean", times.meanNanos() / 1e3);
    json.put("to-running-ms", info.toRunning().toNanos() / 1e6);
    json.put("duration-ms", info.duration().toNanos() / 1e6);
    return json;
  }
}
