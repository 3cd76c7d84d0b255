package io.pageflux.qemu.stream;

import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/** What is particular to a stream that goes over to post-copy, if one is expected. */
final class PostcopyFraming {

  private final Piece piece;
  private final boolean expected;
  private long hostPageSizes;
  private long packageLeft;
  private boolean handedOver;

  PostcopyFraming(Piece piece, boolean expected) {
    this.piece = piece;
    this.expected = expected;
  }

  /**
   * Whether a post-copy goes on that has lost its connection: it begins with commands and not with
   * a header, and does not say again which blocks there are, so that no page of it can be read.
   */
  boolean isResumed(ByteBuffer in) {
    return expected && in.hasRemaining() && in.get(in.position()) == QemuFormat.COMMAND;
  }

  boolean allows(QemuCommand command) {
    return expected && command.beginsPostcopy();
  }

  /** Takes note of a command that was read. */
  void note(QemuCommand command, ByteBuffer payload) {
    if (command == QemuCommand.PACKAGED) {
      packageLeft = PostcopyPayload.packagedBytes(payload);
      handedOver = true;
    } else if (command == QemuCommand.POSTCOPY_ADVISE && payload.hasRemaining()) {
      hostPageSizes = PostcopyPayload.Advice.of(payload).blockPageSizes();
    }
  }

  /** The sizes that host pages have, in one sum; 0 without post-copy. */
  long hostPageSizes() {
    return hostPageSizes;
  }

  /** Whether the guest has been given away: pages come that somebody waits for. */
  boolean isHandedOver() {
    return handedOver;
  }

  boolean isPackageOver() {
    return packageLeft == 0;
  }

  /** Takes a piece of the package, or nothing if there are no bytes. */
  @Nullable QemuElement readPackage(ByteBuffer in) {
    int most = Math.min(in.remaining(), QemuElement.MAX_TAIL_PIECE_BYTES);
    int n = (int) Math.min(packageLeft, most);
    if (n == 0) {
      return null;
    }
    packageLeft -= n;
    long at = piece.position();
    return new QemuElement.Packaged(piece.passOn(in, n), at);
  }
}
