package io.pageflux.examples.demo;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.pageflux.examples.cli.Console;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;

/**
 * How a process of the demonstration talks to the one that started it: it says a line of JSON at a
 * time on standard output, and is to stop when its standard input ends, which happens as well if
 * the other dies.
 */
final class ChildTalk {

  static final String EVENT = "event";

  private final PrintStream out;

  private ChildTalk(PrintStream out) {
    this.out = out;
  }

  /** Begins to talk. */
  static ChildTalk begin(Console console, InputStream in) {
    return begin(console, in, () -> {});
  }

  /**
   * Begins to talk.
   *
   * @param asked is called, on a thread of its own, for each line that the other side says
   */
  static ChildTalk begin(Console console, InputStream in, Runnable asked) {
    Thread.ofPlatform()
        .name("pageflux-parent")
        .daemon()
        .start(
            () -> {
              try {
                for (int next; (next = in.read()) >= 0; ) {
                  if (next == '\n') {
                    asked.run();
                  }
                }
              } catch (IOException e) {
                // The other side is gone, too.
              }
              console.interruption().request();
            });
    return new ChildTalk(console.out());
  }

  /** {@return a message of a kind, to be said} */
  static ObjectNode message(String event) {
    return JsonNodeFactory.instance.objectNode().put(EVENT, event);
  }

  /** Says a message. May be called from any thread. */
  void say(ObjectNode message) {
    synchronized (out) {
      out.println(message);
      out.flush();
    }
  }
}
