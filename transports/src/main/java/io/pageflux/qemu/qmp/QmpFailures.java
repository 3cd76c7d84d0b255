package io.pageflux.qemu.qmp;

import io.netty.channel.ConnectTimeoutException;
import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import java.net.UnknownHostException;
import java.time.Duration;
import java.util.Locale;

/** What can go wrong with a QMP connection, for somebody who reads the message only. */
final class QmpFailures {

  /** How much of what the server sent is repeated in a message. */
  private static final int EXCERPT_CHARS = 120;

  /** The same for messages of others that may quote it. */
  private static final int MESSAGE_CHARS = 1000;

  private QmpFailures() {}

  static MigrationException connecting(QmpAddress address, Throwable cause) {
    String text = String.valueOf(cause.getMessage()).toLowerCase(Locale.ROOT);
    String why;
    if (cause instanceof UnknownHostException) {
      why = "the host name is unknown; check the spelling and the name service";
    } else if (text.contains("no such file")) {
      why = "there is no such socket; check the path, and whether QEMU runs with -qmp " + address;
    } else if (text.contains("refused")) {
      why = "nobody listens there; check the address, and whether QEMU still runs";
    } else if (text.contains("permission")) {
      why = "this user may not; run as the user that QEMU runs as";
    } else if (cause instanceof ConnectTimeoutException || text.contains("timed out")) {
      why = "no answer; check the address";
    } else {
      why = cause.getMessage() == null ? cause.getClass().getSimpleName() : cause.getMessage();
    }
    return MigrationException.of(
        Kind.TRANSPORT, "cannot connect to QMP at " + address + ": " + why, cause);
  }

  static MigrationException noGreeting(QmpAddress address, Duration timeout) {
    return MigrationException.of(
        Kind.TIMEOUT,
        ("QMP at %s did not greet and negotiate within %s; a QMP socket serves one client at a time,"
                + " so another one may be connected, or QEMU hangs")
            .formatted(address, seconds(timeout)));
  }

  static MigrationException noAnswer(QmpAddress address, String command, Duration timeout) {
    return MigrationException.of(
        Kind.TIMEOUT,
        "QEMU at %s did not answer %s within %s".formatted(address, command, seconds(timeout)));
  }

  static MigrationException protocol(QmpAddress address, String what) {
    return MigrationException.of(
        Kind.PROTOCOL, "what answers at %s does not speak QMP: %s".formatted(address, what));
  }

  static MigrationException refused(QmpAddress address, QmpError error) {
    return MigrationException.of(
        Kind.GUEST,
        "QEMU at %s refused %s: %s (%s)"
            .formatted(address, error.command(), error.description(), error.errorClass()),
        error);
  }

  /** {@return how many seconds, for a message} */
  private static String seconds(Duration duration) {
    return "%.1f s".formatted(duration.toMillis() / 1000.0);
  }

  /** {@return the beginning of what the server sent, printable} */
  static String excerpt(String text) {
    return printable(text, EXCERPT_CHARS);
  }

  /** {@return a message that may quote what the server sent, printable and not endless} */
  static String printable(String text) {
    return printable(text, MESSAGE_CHARS);
  }

  private static String printable(String text, int maxChars) {
    StringBuilder printable = new StringBuilder();
    for (int i = 0; i < text.length() && i < maxChars; i++) {
      char c = text.charAt(i);
      printable.append(c < ' ' || c > '~' ? '?' : c);
    }
    return text.length() > maxChars ? printable + "..." : printable.toString();
  }
}
