package io.pageflux.postcopy;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/**
 * Somebody who waits for some pages: told once, when the last of them is there or waiting is over.
 */
abstract class PageWaiter {

  /** One for each page that is waited for, and one until all have been looked at. */
  private final AtomicInteger pending = new AtomicInteger(1);

  private final AtomicBoolean told = new AtomicBoolean();

  /** Where this waits: added to by who registers it, copied by who gives up, perhaps at once. */
  final List<AbsentPages.PageWait> waits = Collections.synchronizedList(new ArrayList<>());

  final void oneMore() {
    pending.incrementAndGet();
  }

  /** A page is there, or all have been looked at. */
  final void oneLess() {
    if (pending.decrementAndGet() == 0) {
      tell(null);
    }
  }

  /** Waiting is over. {@return whether this was what ended it} */
  final boolean tell(@Nullable Throwable failure) {
    if (!told.compareAndSet(false, true)) {
      return false;
    }
    done(failure);
    return true;
  }

  final boolean isTold() {
    return told.get();
  }

  /** Called once, by any thread, which must not be held up. */
  abstract void done(@Nullable Throwable failure);
}
