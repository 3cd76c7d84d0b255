package io.pageflux.wire;

import io.pageflux.MigrationException;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;

/** The bodies of all records that are no batch of pages. */
final class ControlRecords {

  private ControlRecords() {}

  /** The most bytes that the body of a record may take. */
  static int bound(WireRecord record) {
    return switch (record) {
      case WireRecord.Layout layout ->
          RecordType.Sizes.LAYOUT
              + layout.layout().blocks().size()
                  * (RecordType.Sizes.BLOCK + RamBlockLayout.MAX_NAME_BYTES);
      case WireRecord.DeviceState state -> state.bytes().length;
      case WireRecord.PageHashes hashes -> RecordType.Sizes.HASHES + hashes.hashes().length;
      case WireRecord.Stream stream -> stream.bytes().length;
      case WireRecord.Discard discard ->
          RecordType.Sizes.DISCARD + discard.runs().size() * RecordType.Sizes.DISCARDED;
      default -> RecordType.of(record).maxBodyBytes();
    };
  }

  /** Writes the body of a record. */
  static void write(WireRecord record, ByteBuffer out) {
    switch (record) {
      case WireRecord.Hello hello -> {
        out.putShort((short) hello.minVersion()).putShort((short) hello.version());
        out.putShort((short) hello.channel()).putShort((short) hello.channels());
        out.putLong(hello.features()).putLong(hello.required());
        UUID session = hello.session();
        out.putLong(session.getMostSignificantBits()).putLong(session.getLeastSignificantBits());
        writeText(hello.software(), out);
      }
      case WireRecord.Layout layout -> writeLayout(layout, out);
      case WireRecord.RoundBegin begin -> {
        out.putInt(begin.round()).put((byte) (begin.last() ? 1 : 0)).put(new byte[3]);
        out.putLong(begin.pages());
      }
      case WireRecord.RoundEnd end -> {
        out.putInt(end.round()).putInt(0);
        out.putLong(end.zero()).putLong(end.raw()).putLong(end.delta());
      }
      case WireRecord.RoundAck ack -> out.putInt(ack.round()).putInt(0).putLong(ack.pages());
      case WireRecord.Progress progress -> out.putLong(progress.bytes()).putLong(progress.pages());
      case WireRecord.DeviceState state -> out.put(state.bytes());
      case WireRecord.Stream stream -> out.put(stream.bytes());
      case WireRecord.Offer offer -> writeOffer(offer, out);
      case WireRecord.ResumePoint point -> {
        out.putInt(point.round()).put((byte) (point.complete() ? 1 : 0)).put(new byte[3]);
        out.putInt(point.block()).putInt(0).putLong(point.end());
      }
      case WireRecord.PageHashes hashes ->
          out.putInt(hashes.block())
              .putInt(hashes.count())
              .putLong(hashes.first())
              .put(hashes.hashes());
      case WireRecord.PostcopyAdvise advise ->
          out.putInt(advise.hostPageBytes()).putInt(advise.maxRequests());
      case WireRecord.Discard discard -> {
        out.putInt(discard.block()).putInt(discard.runs().size());
        discard.runs().forEach(run -> out.putLong(run.first()).putLong(run.pages()));
      }
      case WireRecord.PostcopyBegin begin ->
          out.putLong(begin.pages()).putLong(begin.absentPages()).putLong(begin.deviceStateBytes());
      case WireRecord.PageRequest request ->
          out.putInt(request.block()).putInt(request.count()).putLong(request.first());
      case WireRecord.PostcopyEnd end -> out.putLong(end.pushed()).putLong(end.requested());
      case WireRecord.PostcopyComplete complete -> out.putLong(complete.pages());
      case WireRecord.GuestRuns runs ->
          out.putLong(runs.absentPages()).putLong(runs.missingPages()).putLong(runs.ownedPages());
      case WireRecord.PostcopyResume resume -> out.putLong(resume.missingPages());
      case WireRecord.End end -> out.putLong(end.pages()).putLong(end.deviceStateBytes());
      case WireRecord.Prepared prepared -> out.putLong(prepared.pages());
      case WireRecord.Failure failure -> {
        out.putShort((short) failure.kind().code());
        writeText(failure.message(), out);
      }
      case WireRecord.Ready _,
          WireRecord.Commit _,
          WireRecord.Running _,
          WireRecord.KeepAlive _,
          WireRecord.StreamEnd _,
          WireRecord.PostcopyListen _ -> {}
      case WireRecord.Pages _ -> throw new IllegalArgumentException("no control record");
    }
  }

  private static void writeText(String text, ByteBuffer out) {
    byte[] utf8 = Texts.utf8(text, WireLimits.MAX_TEXT_BYTES);
    out.putShort((short) utf8.length).put(utf8);
  }

  private static void writeOffer(WireRecord.Offer offer, ByteBuffer out) {
    writeUuid(offer.machine(), out);
    out.putInt(offer.process()).putInt(offer.blocks().size());
    for (WireRecord.Offer.Block block : offer.blocks()) {
      out.putInt(block.block()).putInt(block.descriptor());
      writeUuid(block.token(), out);
    }
  }

  private static void writeUuid(UUID uuid, ByteBuffer out) {
    out.putLong(uuid.getMostSignificantBits()).putLong(uuid.getLeastSignificantBits());
  }

  private static void writeLayout(WireRecord.Layout layout, ByteBuffer out) {
    List<RamBlockLayout> blocks = layout.layout().blocks();
    out.putInt(blocks.size());
    for (RamBlockLayout block : blocks) {
      byte[] name = block.name().getBytes(StandardCharsets.UTF_8);
      out.put((byte) name.length).put(name);
      out.putLong(block.sizeBytes()).putInt(block.pageSizeBytes());
    }
    out.putInt(layout.geometry().maxPages()).putInt(layout.geometry().payloadBytes());
  }

  /**
   * Reads the body of a record.
   *
   * @param type any but {@code PAGES}
   * @param body its body
   * @param bodyBytes the body's length
   * @throws MigrationException if it does not have the form of its type
   */
  static WireRecord read(RecordType type, BodyReader body, int bodyBytes) {
    long at = body.at();
    try {
      WireRecord record =
          switch (type) {
            case HELLO -> readHello(body);
            case LAYOUT -> readLayout(body);
            case READY -> new WireRecord.Ready();
            case ROUND_BEGIN -> {
              int round = round(body);
              boolean last = body.bool("the mark of the last round");
              body.zeros(3);
              yield new WireRecord.RoundBegin(round, last, body.u64("the dirty pages"));
            }
            case ROUND_END -> {
              int round = round(body);
              body.zeros(4);
              yield new WireRecord.RoundEnd(
                  round,
                  body.u64("the zero pages"),
                  body.u64("the raw pages"),
                  body.u64("the delta pages"));
            }
            case ROUND_ACK -> {
              int round = round(body);
              body.zeros(4);
              yield new WireRecord.RoundAck(round, body.u64("the applied pages"));
            }
            case PROGRESS ->
                new WireRecord.Progress(body.u64("the bytes"), body.u64("the applied pages"));
            case DEVICE_STATE ->
                new WireRecord.DeviceState(body.bytes(bodyBytes, "the device state"));
            case END ->
                new WireRecord.End(body.u64("the pages"), body.u64("the device state's bytes"));
            case PREPARED -> new WireRecord.Prepared(body.u64("the applied pages"));
            case COMMIT -> new WireRecord.Commit();
            case RUNNING -> new WireRecord.Running();
            case FAILURE ->
                new WireRecord.Failure(
                    MigrationException.Kind.ofCode(body.u16("the kind")),
                    readText(body, "the message"));
            case KEEP_ALIVE -> new WireRecord.KeepAlive();
            case STREAM -> new WireRecord.Stream(body.bytes(bodyBytes, "the stream"));
            case STREAM_END -> new WireRecord.StreamEnd();
            case OFFER -> readOffer(body);
            case RESUME_POINT -> {
              int round = round(body);
              boolean complete = body.bool("the mark of a complete round");
              body.zeros(3);
              int block = body.u32("the block", WireLimits.MAX_BLOCKS - 1);
              body.zeros(4);
              yield new WireRecord.ResumePoint(round, complete, block, body.u64("the page"));
            }
            case PAGE_HASHES -> {
              int block = body.u32("the block", WireLimits.MAX_BLOCKS - 1);
              int count = body.u32("the number of hashes", WireLimits.MAX_HASHES);
              long first = body.u64("the first page");
              yield new WireRecord.PageHashes(
                  block, first, body.bytes(count * RecordType.Sizes.HASH, "the hashes"));
            }
            case POSTCOPY_ADVISE ->
                new WireRecord.PostcopyAdvise(
                    body.u32("the host's page size", WireLimits.MAX_HOST_PAGE_BYTES),
                    body.u32("the most requests", WireLimits.MAX_PAGE_REQUESTS));
            case POSTCOPY_LISTEN -> new WireRecord.PostcopyListen();
            case DISCARD -> readDiscard(body);
            case POSTCOPY_BEGIN ->
                new WireRecord.PostcopyBegin(
                    body.u64("the pages"),
                    body.u64("the absent pages"),
                    body.u64("the device state's bytes"));
            case PAGE_REQUEST -> {
              int block = body.u32("the block", WireLimits.MAX_BLOCKS - 1);
              int count = body.u32("the requested pages", WireLimits.MAX_PAGE_REQUESTS);
              yield new WireRecord.PageRequest(block, body.u64("the first page"), count);
            }
            case POSTCOPY_END ->
                new WireRecord.PostcopyEnd(
                    body.u64("the pushed pages"), body.u64("the requested pages"));
            case POSTCOPY_COMPLETE -> new WireRecord.PostcopyComplete(body.u64("the pages"));
            case GUEST_RUNS ->
                new WireRecord.GuestRuns(
                    body.u64("the absent pages"),
                    body.u64("the missing pages"),
                    body.u64("the pages that the guest has written"));
            case POSTCOPY_RESUME -> new WireRecord.PostcopyResume(body.u64("the missing pages"));
            case PAGES -> throw new IllegalStateException("pages are read elsewhere");
          };
      body.end();
      return record;
    } catch (IllegalArgumentException e) {
      throw body.error(at, String.valueOf(e.getMessage()));
    }
  }

  private static int round(BodyReader body) {
    return body.u32("the round", Integer.MAX_VALUE);
  }

  private static String readText(BodyReader body, String what) {
    int length = body.u16("the length of " + what);
    if (length > WireLimits.MAX_TEXT_BYTES) {
      throw body.error(
          body.at() - 2,
          "%s has %d bytes, but may have %d".formatted(what, length, WireLimits.MAX_TEXT_BYTES));
    }
    return body.text(length, what);
  }

  private static WireRecord.Hello readHello(BodyReader body) {
    int minVersion = body.u16("the lowest version");
    int version = body.u16("the highest version");
    int channel = body.u16("the channel");
    int channels = body.u16("the number of channels");
    long features = body.u64("the features");
    long required = body.u64("the required features");
    UUID session = new UUID(body.u64("the session"), body.u64("the session"));
    String software = readText(body, "the program's name");
    return new WireRecord.Hello(
        minVersion, version, features, required, session, channel, channels, software);
  }

  private static WireRecord.Offer readOffer(BodyReader body) {
    UUID machine = readUuid(body, "the machine");
    int process = body.u32("the process", Integer.MAX_VALUE);
    int count = body.u32("the number of offered blocks", WireLimits.MAX_BLOCKS);
    List<WireRecord.Offer.Block> blocks = new ArrayList<>(count);
    for (int i = 0; i < count; i++) {
      int block = body.u32("an offered block", WireLimits.MAX_BLOCKS - 1);
      int descriptor = body.u32("a block's descriptor", Integer.MAX_VALUE);
      blocks.add(new WireRecord.Offer.Block(block, descriptor, readUuid(body, "a block's token")));
    }
    return new WireRecord.Offer(machine, process, blocks);
  }

  private static WireRecord.Discard readDiscard(BodyReader body) {
    int block = body.u32("the block", WireLimits.MAX_BLOCKS - 1);
    int count = body.u32("the number of discarded runs", WireLimits.MAX_DISCARDED_RUNS);
    List<WireRecord.Discard.Run> runs = new ArrayList<>(count);
    for (int i = 0; i < count; i++) {
      runs.add(
          new WireRecord.Discard.Run(body.u64("a run's first page"), body.u64("a run's length")));
    }
    return new WireRecord.Discard(block, runs);
  }

  private static UUID readUuid(BodyReader body, String what) {
    return new UUID(body.u64(what), body.u64(what));
  }

  private static WireRecord.Layout readLayout(BodyReader body) {
    int count = body.u32("the number of RAM blocks", WireLimits.MAX_BLOCKS);
    List<RamBlockLayout> blocks = new ArrayList<>(count);
    for (int i = 0; i < count; i++) {
      String what = "RAM block " + i;
      long at = body.at();
      String name = body.text(body.u8(what + "'s name's length"), what + "'s name");
      long sizeBytes = body.u64(what + "'s size");
      int pageSizeBytes = body.u32(what + "'s page size", RamBlockLayout.MAX_PAGE_SIZE_BYTES);
      try {
        blocks.add(new RamBlockLayout(name, sizeBytes, pageSizeBytes));
      } catch (IllegalArgumentException e) {
        throw body.error(at, String.valueOf(e.getMessage()));
      }
    }
    int maxPages = body.u32("the pages of a batch", BatchGeometry.MAX_PAGES);
    int payloadBytes = body.u32("the bytes of a batch", BatchGeometry.MAX_PAYLOAD_BYTES);
    return new WireRecord.Layout(new RamLayout(blocks), new BatchGeometry(maxPages, payloadBytes));
  }
}
