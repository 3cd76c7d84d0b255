package io.pageflux.convergence;

/**
 * Decides what to do with a migration, from its figures.
 *
 * <p>It may keep a state from one decision to the next; a {@link Maker} makes a new one for each
 * migration. It is asked by one thread at a time, and should answer at once: pages wait meanwhile.
 *
 * <p>If it throws, an {@code Error} also, or returns null it is not asked again, and the migration
 * goes on by {@link ConvergenceControl}'s fallback; so it does if its {@link Maker} does.
 */
@FunctionalInterface
public interface ConvergencePolicy {

  /** {@return what to do} */
  ConvergenceDecision decide(ConvergenceFigures figures);

  /** Makes a policy for one migration. */
  @FunctionalInterface
  interface Maker {

    /** {@return a new policy that keeps to limits, as far as it has use for them} */
    ConvergencePolicy make(ConvergenceLimits limits);
  }
}
