package io.pageflux.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.memory.GuestMemory;
import java.util.ArrayDeque;
import java.util.List;
import java.util.Objects;
import java.util.Queue;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

class HoldingPlaceTest {

  @Test
  void whatIsHeldIsToldBeforeTheEnd() {
    Queue<Runnable> tasks = new ArrayDeque<>();
    Scheduler thread = Schedulers.fromExecutor(tasks::add);
    List<String> told = new CopyOnWriteArrayList<>();
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", 4096).build();
        EpochStaging staging = new EpochStaging(4096)) {
      HoldingPlace place = new HoldingPlace(memory, staging, thread);
      Mono<Void> held =
          Objects.requireNonNull(place.hold(1, List.of(), took -> told.add("in memory")));
      // Who has the session end may be the first to wait.
      place.close().subscribe(v -> {}, e -> {}, () -> told.add("ended"));
      held.subscribe(v -> {}, e -> {}, () -> told.add("goes on"));
      assertThat(told).isEmpty();
      tasks.remove().run();
      assertThat(told).containsExactly("in memory", "ended", "goes on");
      assertThat(Objects.requireNonNull(place.held()).number()).isEqualTo(1);
      assertThat(place.hold(2, List.of(), took -> told.add("too late"))).isNull();
      assertThat(told).doesNotContain("too late");
    } finally {
      thread.dispose();
    }
  }
}
