package io.pageflux.examples.cli;

import java.io.PrintStream;

/**
 * What a command talks to.
 *
 * @param out standard output: results
 * @param err standard error: progress and failures
 * @param interruption tells of Ctrl-C
 */
public record Console(PrintStream out, PrintStream err, Interruption interruption) {}
