package io.pageflux.qemu.stream;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Turns QEMU's stream into elements: one reader for each connection.
 *
 * <p>Pages are gathered in batches. A batch needs a slab, which the caller leases: when {@link
 * #read} returns null and {@link #needsSlab} says so, nothing more is read before one was
 * {@linkplain #supply supplied}. A batch is complete when it is full, when a page of another block
 * or a lower one follows, and before any other element, so that the order of elements is that of
 * the stream.
 *
 * <p><b>Ordering and threading:</b> elements come out in the order of the stream. Not for use by
 * two threads at once.
 *
 * <p><b>Memory bound:</b> one slab, and 128 KiB of heap for an element; nothing is allocated for a
 * length that was not checked.
 *
 * <p><b>Discard:</b> {@link #close} gives the slab back, and so does every error. A batch that was
 * returned is the caller's.
 *
 * <p><b>Errors:</b> every fault of the stream is a {@link MigrationException} that says at which
 * byte what is wrong: of kind {@code TRANSPORT} if it ended too early, {@code INTEGRITY} if a page
 * cannot be decompressed, else {@code PROTOCOL}. A record is taken whole or not at all. After an
 * error the reader cannot be used any more.
 */
public final class QemuStreamReader implements AutoCloseable {

  private static final int MAGIC = 0x5145564d;
  private static final int OBSOLETE_VERSION = 2;
  private static final int VERSION = 3;
  private static final int MAX_MACHINE_NAME_BYTES = 256;
  private static final int MAX_CAPABILITIES = 64;
  private static final int MAX_TAIL_PIECE_BYTES = 64 << 10;
  private static final int RAM_VERSION = 4;

  private enum State {
    HEADER,
    TYPE,
    CONFIGURATION,
    SUBSECTION,
    COMMAND,
    SECTION,
    RAM,
    FOOTER,
    TAIL,
    ENDED
  }

  private final StreamInput input = new StreamInput();
  private final RamSectionReader ram;
  private State state = State.HEADER;
  private SectionType section = SectionType.EOF;
  private boolean configured;
  private boolean subsectionsMayFollow;
  private boolean ramSeen;
  private int ramId;
  private boolean tailBegun;

  /**
   * Makes a reader at the start of a stream.
   *
   * @param geometry of the slabs that will be supplied
   * @param pageSizeBytes the size of the target's page: 4,096 on x86
   */
  public QemuStreamReader(BatchGeometry geometry, int pageSizeBytes) {
    this.ram = new RamSectionReader(input, geometry, pageSizeBytes);
  }

  /**
   * Takes bytes until an element is complete. Call it again with the same buffer until it returns
   * null.
   *
   * @param in the next bytes of the stream; its position moves behind those that were taken
   * @return the next element; null if all bytes were taken and none was completed, or a slab is
   *     {@linkplain #needsSlab needed}
   * @throws MigrationException if the stream is at fault
   * @throws IllegalStateException if the reader has failed before, or was closed
   */
  public @Nullable QemuElement read(ByteBuffer in) {
    requireUsable();
    try {
      while (true) {
        QemuElement element = step(in);
        if (element != null || input.wasStarved()) {
          return element;
        }
      }
    } catch (MigrationException e) {
      close();
      throw e;
    } catch (RuntimeException e) {
      close();
      throw MigrationException.of(
          Kind.INTERNAL,
          "the reader failed at byte " + input.taken() + " of QEMU's stream: " + e,
          e);
    }
  }

  private void requireUsable() {
    if (state == State.ENDED) {
      throw new IllegalStateException("the reader has failed before, or was closed");
    }
  }

  private @Nullable QemuElement step(ByteBuffer in) {
    return switch (state) {
      case HEADER -> header(in);
      case TYPE -> type(in);
      case CONFIGURATION -> configuration(in);
      case SUBSECTION -> subsection(in);
      case COMMAND -> command(in);
      case SECTION -> section(in);
      case RAM -> ram(in);
      case FOOTER -> footer(in);
      case TAIL -> tail(in);
      case ENDED -> throw new IllegalStateException();
    };
  }

  private @Nullable QemuElement header(ByteBuffer in) {
    // The first four bytes tell already who speaks.
    if (!input.have(4, in)) {
      return null;
    }
    if (input.i32(0) == 0x11223344) {
      throw input.error(
          "this is a connection of multifd, and not the main one: it was made first, or multifd is"
              + " on where it cannot be used");
    }
    if (input.i32(0) != MAGIC) {
      throw input.error(
          "this is no migration stream of QEMU's: its first bytes are %08x and not QEVM"
              .formatted(input.i32(0)));
    }
    if (!input.have(8, in)) {
      return null;
    }
    int version = input.i32(4);
    if (version != VERSION) {
      throw input.error(
          "the stream has version %d%s, but only 3 is known"
              .formatted(version, version == OBSOLETE_VERSION ? ", which is obsolete" : ""));
    }
    next(State.TYPE);
    long at = input.start();
    return new QemuElement.Header(version, input.take(), at);
  }

  private void next(State following) {
    state = following;
    input.in(
        following == State.TYPE
            ? (ramSeen ? "what follows a RAM section" : "what precedes RAM")
            : following.name().toLowerCase(java.util.Locale.ROOT));
  }

  private @Nullable QemuElement type(ByteBuffer in) {
    if (!input.have(1, in)) {
      return null;
    }
    SectionType type = SectionType.ofCode(input.u8(0));
    if (type == null) {
      throw input.error("no section begins with the byte 0x%02x".formatted(input.u8(0)));
    }
    boolean subsectionMay = subsectionsMayFollow;
    subsectionsMayFollow = type == SectionType.CONFIGURATION || type == SectionType.SUBSECTION;
    if (!configured && type != SectionType.CONFIGURATION) {
      // send-configuration=off: QEMU of that kind is not known to be in use.
      throw input.error("the configuration is missing: a %s comes first".formatted(type));
    }
    switch (type) {
      case CONFIGURATION -> {
        if (configured) {
          throw input.error("a second configuration");
        }
        configured = true;
        next(State.CONFIGURATION);
      }
      case SUBSECTION -> {
        if (!subsectionMay) {
          throw input.error("a subsection outside of the configuration and of devices");
        }
        next(State.SUBSECTION);
      }
      case COMMAND -> next(State.COMMAND);
      case START, PART, END -> {
        section = type;
        next(State.SECTION);
      }
      case FULL, EOF -> {
        // Devices follow; a snapshot that was taken in the background has no END of RAM.
        if (!ramSeen) {
          throw input.error(
              "there is no RAM section before the %s"
                  .formatted(type == SectionType.EOF ? "end" : "devices"));
        }
        next(State.TAIL);
      }
      case DESCRIPTION, FOOTER -> throw input.error("a %s out of turn".formatted(type));
    }
    return null;
  }

  private @Nullable QemuElement configuration(ByteBuffer in) {
    if (!input.have(5, in)) {
      return null;
    }
    long length = input.u32(1);
    if (length > MAX_MACHINE_NAME_BYTES) {
      throw input.error("a machine type of %d bytes".formatted(length));
    }
    if (!input.have(5 + (int) length, in)) {
      return null;
    }
    String machine = input.text(5, (int) length);
    next(State.TYPE);
    long at = input.start();
    return new QemuElement.Configuration(machine, input.take(), at);
  }

  private @Nullable QemuElement subsection(ByteBuffer in) {
    if (!input.have(2, in)) {
      return null;
    }
    int nameBytes = input.u8(1);
    int body = 2 + nameBytes + 4;
    if (!input.have(body, in)) {
      return null;
    }
    String name = input.text(2, nameBytes);
    List<String> capabilities = List.of();
    switch (name) {
      case "configuration/target-page-bits" -> {
        if (!input.have(body + 4, in)) {
          return null;
        }
        int bits = input.i32(body);
        if (bits < 10 || bits > 21 || 1 << bits != ram.pageSizeBytes()) {
          throw input.error(
              "the target's pages have 2^%d bytes, but %d were expected: say so"
                  .formatted(bits, ram.pageSizeBytes()));
        }
      }
      case "configuration/uuid" -> {
        if (!input.have(body + 16, in)) {
          return null;
        }
      }
      case "configuration/capabilities" -> {
        List<String> read = capabilities(body, in);
        if (read == null) {
          return null;
        }
        capabilities = read;
      }
      default ->
          throw input.error(
              "the configuration has %s, which is not known and has no length"
                  .formatted(StreamInput.printable(name)));
    }
    next(State.TYPE);
    long at = input.start();
    return new QemuElement.ConfigurationPart(name, capabilities, input.take(), at);
  }

  private @Nullable List<String> capabilities(int body, ByteBuffer in) {
    if (!input.have(body + 4, in)) {
      return null;
    }
    long count = input.u32(body);
    if (count > MAX_CAPABILITIES) {
      throw input.error("%d capabilities".formatted(count));
    }
    List<String> names = new ArrayList<>();
    int at = body + 4;
    for (int i = 0; i < count; i++) {
      if (!input.have(at + 1, in)) {
        return null;
      }
      int bytes = input.u8(at);
      if (!input.have(at + 1 + bytes, in)) {
        return null;
      }
      names.add(input.text(at + 1, bytes));
      at += 1 + bytes;
    }
    if (names.contains("mapped-ram")) {
      throw input.error("the stream is for a file, with the capability mapped-ram: switch it off");
    }
    ram.withAddresses(names.contains("x-ignore-shared"));
    return names;
  }

  private @Nullable QemuElement command(ByteBuffer in) {
    if (!input.have(5, in)) {
      return null;
    }
    QemuCommand command = QemuCommand.ofCode(input.u16(1));
    int length = input.u16(3);
    if (command == null) {
      throw input.error("the command %d is not known".formatted(input.u16(1)));
    }
    if (!command.isPreCopy()) {
      throw input.error(
          "the command %s: post-copy, its recovery and COLO are not supported; switch off the"
              .concat(" capabilities postcopy-ram and x-colo")
              .formatted(command));
    }
    if (!command.mayHave(length)) {
      throw input.error("the command %s with %d bytes".formatted(command, length));
    }
    if (!input.have(5 + length, in)) {
      return null;
    }
    next(State.TYPE);
    long at = input.start();
    return new QemuElement.Command(command, input.take(), at);
  }

  private @Nullable QemuElement section(ByteBuffer in) {
    if (!input.have(5, in)) {
      return null;
    }
    int id = input.i32(1);
    if (section == SectionType.START) {
      if (!input.have(6, in) || !input.have(6 + input.u8(5) + 8, in)) {
        return null;
      }
      beginRam(id, input.text(6, input.u8(5)), 6 + input.u8(5));
    } else if (!ramSeen || id != ramId) {
      throw input.error("a %s of section %d, which has not begun".formatted(section, id));
    }
    next(State.RAM);
    input.in("the RAM section (%s)".formatted(section));
    long at = input.start();
    return new QemuElement.SectionBegin(section, id, input.take(), at);
  }

  private void beginRam(int id, String name, int at) {
    if (!name.equals("ram")) {
      throw input.error(
          "the section %s is sent in several parts, like RAM, and its form is not known: remove the"
              .concat(" device, or switch off what makes it (dirty bitmaps, block migration)")
              .formatted(StreamInput.printable(name)));
    }
    if (ramSeen) {
      throw input.error("RAM begins twice");
    }
    if (input.i32(at + 4) != RAM_VERSION) {
      throw input.error(
          "the RAM section has version %d, but only 4 is known".formatted(input.i32(at + 4)));
    }
    ramSeen = true;
    ramId = id;
  }

  private @Nullable QemuElement ram(ByteBuffer in) {
    QemuElement element = ram.read(in);
    if (element instanceof QemuElement.EndOfRamData) {
      next(State.FOOTER);
    }
    return element;
  }

  private @Nullable QemuElement footer(ByteBuffer in) {
    if (!input.have(1, in)) {
      return null;
    }
    if (input.u8(0) != SectionType.FOOTER.code()) {
      throw input.error(
          "the footer of the RAM section is missing: 0x%02x is there".formatted(input.u8(0)));
    }
    if (!input.have(5, in)) {
      return null;
    }
    if (input.i32(1) != ramId) {
      throw input.error(
          "the footer is that of section %d, but section %d ends".formatted(input.i32(1), ramId));
    }
    boolean endsRam = section == SectionType.END;
    next(endsRam ? State.TAIL : State.TYPE);
    long at = input.start();
    return new QemuElement.Footer(ramId, endsRam, input.take(), at);
  }

  private @Nullable QemuElement tail(ByteBuffer in) {
    input.in("the devices' state");
    int available = input.length() + in.remaining();
    if (available == 0) {
      input.starve();
      return null;
    }
    input.have(Math.min(available, MAX_TAIL_PIECE_BYTES), in);
    tailBegun = true;
    long at = input.start();
    return new QemuElement.DeviceTail(input.take(), at);
  }

  /** {@return whether {@link #read} returned null because it needs a slab} */
  public boolean needsSlab() {
    return ram.needsSlab();
  }

  /**
   * Gives the reader a slab of its geometry, which it releases or passes on with a batch.
   *
   * @throws IllegalStateException if it needs none; the lease is released then
   */
  public void supply(Lease lease) {
    if (state == State.ENDED) {
      lease.release();
      return;
    }
    ram.supply(lease);
  }

  /**
   * {@return the pages that are complete so far, or null if there are none} For a caller who would
   * rather send few pages than wait for more.
   */
  public @Nullable QemuElement flush() {
    return state == State.RAM ? ram.flush() : null;
  }

  /**
   * Says that QEMU has closed the stream.
   *
   * @throws MigrationException of kind {@code TRANSPORT} if that is no place to end
   * @throws IllegalStateException if the reader has failed before, or was closed
   */
  public void end() {
    requireUsable();
    boolean inOrder = state == State.TAIL && tailBegun && input.length() == 0;
    MigrationException early = inOrder ? null : input.endedEarly();
    close();
    if (early != null) {
      throw early;
    }
  }

  /** {@return how many bytes of the stream were taken} */
  public long bytesRead() {
    return input.taken();
  }

  /** Gives the slab of an incomplete batch back. The reader cannot be used any more. */
  @Override
  public void close() {
    state = State.ENDED;
    ram.close();
  }
}
