package io.pageflux.examples.fault;

import java.nio.file.Path;
import java.time.Duration;

/** One side of a run, in this process or in another. */
interface Side {

  /** So long that only a hang reaches it. */
  Duration LIMIT = Duration.ofSeconds(40);

  /** {@return whether it is there} A process may have died. */
  boolean isAlive();

  /** Looks at every page. {@return what is wrong, or nothing} */
  String verify();

  /** Ends the run at this side. {@return what is left of it that should not be; or nothing} */
  String end();

  /** Where the guest is from. */
  interface Source extends Side {
    /**
     * Migrates to an address.
     *
     * @param faulty whether what is to happen in this run happens
     */
    Ending attempt(String address, boolean faulty);

    /** Lets the guest go on, as a person does. */
    void resume();

    /** Writes the guest's memory to a file. */
    default void keep(Path file) {
      throw new UnsupportedOperationException("no guest leaves before its pages here");
    }
  }

  /** Where the guest is going. */
  interface Destination extends Side {
    /**
     * Begins to wait for the source.
     *
     * @param faulty whether what is to happen in this run happens
     * @return the address; empty if it has died
     */
    String listen(boolean faulty);

    /** Waits no longer if the source has not come. */
    void stopIfNobodyCame();

    /** {@return how it ended} */
    Ending await();

    /** Takes the pages that the guest lacks from a file that the source has written. */
    default void fill(Path file) {
      throw new UnsupportedOperationException("no guest comes before its pages here");
    }

    /**
     * Has the guest go on from the checkpoint that is held, as a person does who knows that the
     * source is dead. {@return what is wrong, or nothing}
     */
    default String takeOver() {
      throw new UnsupportedOperationException("no checkpoints come here");
    }
  }
}
