package io.pageflux.examples.qemu;

import io.pageflux.codec.XbzrleCaches;
import io.pageflux.codec.XbzrleSpec;
import io.pageflux.examples.cli.ByteSize;
import io.pageflux.examples.cli.CodecChoice;
import io.pageflux.examples.cli.CodecOptions;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.Endpoint;
import io.pageflux.migration.CompressionSpec;
import io.pageflux.qemu.relay.QemuRelay;
import io.pageflux.qemu.relay.RelaySpec;
import io.pageflux.transport.tcp.SocketSpec;
import io.pageflux.transport.tcp.SocketTransport;
import java.time.Duration;
import picocli.CommandLine.Command;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;

/** {@code pageflux qemu-relay}. */
@Command(
    name = "qemu-relay",
    header = "Stand between two QEMUs, and make a slow link fast.",
    description = {
      "Two relays, one on each host: the source's QEMU migrates to 'qemu-relay source', which sends"
          + " deltas and compressed pages to 'qemu-relay destination', which hands QEMU's own"
          + " stream to the destination's QEMU. Neither QEMU knows of it.",
      "Switch on the capability return-path in both QEMUs, and postcopy-ram if you like; leave"
          + " multifd, postcopy-preempt and compress off. In QEMU: migrate_set_parameter"
          + " max-bandwidth 0, for the relay slows QEMU down to what the link carries."
    })
public final class RelayCommand {

  /** Socket buffers towards QEMU: what waits in them is downtime. */
  private static final int QEMU_BUFFER_BYTES = 256 << 10;

  /** More than any guest has. */
  private static final long EVERYTHING = 1L << 40;

  private final Console console;

  /** Made with what it talks to. */
  public RelayCommand(Console console) {
    this.console = console;
  }

  @Command(name = "source", description = "The relay that the source's QEMU migrates to.")
  int source(
      @Option(
              names = "--listen",
              required = true,
              paramLabel = "ENDPOINT",
              description =
                  "Where QEMU migrates to: HOST:PORT, unix:PATH, or PORT for this host only.")
          Endpoint listen,
      @Option(
              names = "--connect",
              required = true,
              paramLabel = "ENDPOINT",
              description =
                  "Where the relay of the destination listens: HOST:PORT, unix:PATH, or PORT.")
          Endpoint connect,
      @Option(
              names = "--compress",
              paramLabel = "CODEC",
              defaultValue = "zstd:1",
              converter = CodecOptions.CompressionConverter.class,
              description =
                  "zstd:LEVEL, or none (${DEFAULT-VALUE}). Harder, up to level 5, while the link"
                      + " limits the migration.")
          CodecChoice compression,
      @Option(
              names = "--adaptive",
              description =
                  "Send pages as they are, and not compressed, while the link seems to have room"
                      + " for that. Where it has not, trying costs up to an eighth more bytes.")
          boolean adaptive,
      @Option(
              names = "--workers",
              paramLabel = "N",
              defaultValue = "2",
              description = "How many threads compress (${DEFAULT-VALUE}).")
          int workers,
      @Option(
              names = "--xbzrle-cache",
              paramLabel = "SIZE",
              defaultValue = "all",
              converter = CacheConverter.class,
              description =
                  "Memory for sending deltas of pages: a size, off, or all, which keeps a copy of"
                      + " every page that was sent (${DEFAULT-VALUE}).")
          ByteSize cache,
      @Option(
              names = "--peer-timeout",
              paramLabel = "DURATION",
              defaultValue = "15s",
              description = "How long the other relay may be silent (${DEFAULT-VALUE}).")
          Duration peerTimeout,
      @Option(names = "--once", description = "Exit after one migration.") boolean once) {
    RelaySpec spec =
        RelaySpec.DEFAULT
            .withCompression(compression.compression(workers))
            .withAdaptive(adaptive)
            .withXbzrle(
                cache.bytes() == 0 ? null : XbzrleSpec.DEFAULT.withCacheBytes(cache.bytes()))
            .withPeerTimeout(peerTimeout);
    SocketSpec qemu = listen.spec().withSocketBuffers(0, QEMU_BUFFER_BYTES);
    try (XbzrleCaches caches = new XbzrleCaches()) {
      return new RelayRunner(
              console,
              once,
              "QEMU",
              listen instanceof Endpoint.Tcp ? "migrate tcp:%s" : "migrate %s")
          .run(
              SocketTransport.listen(qemu),
              acceptor ->
                  QemuRelay.source(
                      spec,
                      caches,
                      acceptor,
                      SocketTransport.connector(connect.spec()),
                      this::turnedAway));
    }
  }

  private void turnedAway(String stray) {
    console.err().println("pageflux: " + stray);
  }

  @Command(name = "destination", description = "The relay that hands the stream to QEMU.")
  int destination(
      @Option(
              names = "--listen",
              required = true,
              paramLabel = "ENDPOINT",
              description =
                  "Where the source's relay connects to: HOST:PORT, unix:PATH, or PORT for this"
                      + " host only.")
          Endpoint listen,
      @Option(
              names = "--connect",
              required = true,
              paramLabel = "ENDPOINT",
              description = "Where QEMU waits: HOST:PORT or unix:PATH, as its -incoming has it.")
          Endpoint connect,
      @Option(
              names = "--workers",
              paramLabel = "N",
              defaultValue = "2",
              description = "How many threads decompress (${DEFAULT-VALUE}).")
          int workers,
      @Option(
              names = "--peer-timeout",
              paramLabel = "DURATION",
              defaultValue = "15s",
              description = "How long the other relay may be silent (${DEFAULT-VALUE}).")
          Duration peerTimeout,
      @Option(names = "--once", description = "Exit after one migration.") boolean once) {
    RelaySpec spec =
        RelaySpec.DEFAULT
            .withCompression(new CompressionSpec(1, workers))
            .withPeerTimeout(peerTimeout);
    SocketSpec qemu = connect.spec().withSocketBuffers(QEMU_BUFFER_BYTES, 0);
    return new RelayRunner(console, once, "the source's relay", "%s")
        .run(
            SocketTransport.listen(listen.spec()),
            acceptor ->
                QemuRelay.destination(
                    spec, acceptor, SocketTransport.connector(qemu), this::turnedAway));
  }

  /** Reads {@code --xbzrle-cache}: 0 stands for off. */
  static final class CacheConverter implements ITypeConverter<ByteSize> {
    @Override
    public ByteSize convert(String value) {
      return switch (value.toLowerCase(java.util.Locale.ROOT)) {
        case "off" -> new ByteSize(0);
        case "all" -> new ByteSize(EVERYTHING);
        default -> ByteSize.parse(value);
      };
    }
  }
}
