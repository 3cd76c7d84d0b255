package io.pageflux.transport.tcp;

import static org.assertj.core.api.Assertions.assertThat;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufAllocator;
import io.netty.util.ResourceLeakDetector;
import java.time.Duration;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.extension.AfterAllCallback;
import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * Fails a test class during which a network buffer was dropped without being released.
 *
 * <p>Netty finds such a buffer when it has been collected, and only logs it. So after the tests one
 * more buffer is dropped, and when the log tells of that one, it has told of all.
 */
public final class LeakCheck implements BeforeAllCallback, AfterAllCallback {

  private final Logger logger = Logger.getLogger(ResourceLeakDetector.class.getName());
  private final List<String> leaks = new CopyOnWriteArrayList<>();
  private final Handler handler =
      new Handler() {
        @Override
        public void publish(LogRecord logged) {
          if (logged.getMessage().contains("LEAK")) {
            leaks.add(logged.getMessage());
          }
        }

        @Override
        public void flush() {}

        @Override
        public void close() {}
      };

  @Override
  public void beforeAll(ExtensionContext context) {
    assertThat(ResourceLeakDetector.getLevel()).isEqualTo(ResourceLeakDetector.Level.PARANOID);
    logger.setUseParentHandlers(false);
    logger.addHandler(handler);
  }

  @Override
  public void afterAll(ExtensionContext context) {
    String canary = "canary " + UUID.randomUUID();
    drop(canary);
    long end = System.nanoTime() + Duration.ofSeconds(30).toNanos();
    while (leaks.stream().noneMatch(leak -> leak.contains(canary)) && System.nanoTime() < end) {
      System.gc();
      ByteBufAllocator.DEFAULT.directBuffer(1).release(); // reports what was collected
    }
    logger.removeHandler(handler);
    logger.setUseParentHandlers(true);
    assertThat(leaks).as("the check itself works").anyMatch(leak -> leak.contains(canary));
    assertThat(leaks).filteredOn(leak -> !leak.contains("canary ")).isEmpty();
  }

  private static void drop(String canary) {
    ByteBuf dropped = ByteBufAllocator.DEFAULT.directBuffer(16);
    dropped.touch(canary);
  }
}
