package io.pageflux.operator;

import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.function.Supplier;
import reactor.core.publisher.Flux;
import reactor.core.scheduler.Scheduler;

/**
 * A map that runs in several threads and keeps the order, for elements that own something.
 *
 * <p>Each thread has a {@link Worker} of its own, so a worker may keep a native context that must
 * not be shared.
 *
 * <p><b>Demand:</b> requests {@code inFlight} elements at first, and one more for each that it
 * emits. Elements are emitted as downstream requests them.
 *
 * <p><b>Memory bound:</b> holds at most {@code inFlight} elements, whether they wait, are worked
 * on, or wait for their turn to be emitted.
 *
 * <p><b>Ordering and threading:</b> elements come out in the order in which they came in, on
 * whichever thread made the next one ready: a worker's, the source's, or that of a request.
 *
 * <p><b>Discard and cancel:</b> on cancel and error the elements held are released and discarded;
 * one that a worker has in hands is released when the worker lets it go. Workers are closed when
 * the last of them is done.
 *
 * <p><b>Errors:</b> what a worker throws is emitted in the place of its element, after the elements
 * before it; so is an error of the source.
 */
public final class OrderedParallelMap {

  private OrderedParallelMap() {}

  /** Does the work in one thread. */
  public interface Worker<T> extends AutoCloseable {

    /**
     * Works on an element, in place or not.
     *
     * @return the element to emit; if this throws, the operator releases the given one
     */
    T apply(T element);

    /** Frees what the worker has. Called once, while {@code apply} is not running. */
    @Override
    void close();
  }

  /**
   * {@return the operator}
   *
   * @param parallelism how many workers, at least 1
   * @param inFlight how many elements are held at the most, at least {@code parallelism}
   * @param scheduler where the workers run; not disposed
   * @param workers makes a worker, once for each of {@code parallelism} at most and as needed
   * @param concerns which elements the work is for; others pass through in order, without a hop
   * @param release frees what an element owns
   */
  public static <T> Function<Flux<T>, Flux<T>> of(
      int parallelism,
      int inFlight,
      Scheduler scheduler,
      Supplier<? extends Worker<T>> workers,
      Predicate<? super T> concerns,
      Consumer<? super T> release) {
    if (parallelism < 1) {
      throw new IllegalArgumentException("parallelism > 0 required but it was " + parallelism);
    }
    if (inFlight < parallelism) {
      throw new IllegalArgumentException(
          "inFlight >= parallelism required but it was %d < %d".formatted(inFlight, parallelism));
    }
    return source ->
        new FluxOrderedParallelMap<>(
            source, parallelism, inFlight, scheduler, workers, concerns, release);
  }
}
