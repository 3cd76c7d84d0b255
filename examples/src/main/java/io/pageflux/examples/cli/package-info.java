/** What all commands share: values on the command line, failures, exit codes, interruption. */
@NullMarked
package io.pageflux.examples.cli;

import org.jspecify.annotations.NullMarked;
