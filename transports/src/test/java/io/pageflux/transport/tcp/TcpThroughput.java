package io.pageflux.transport.tcp;

import io.pageflux.transport.Connection;
import io.pageflux.transport.TransportBuffer;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.util.Arrays;
import java.util.Objects;
import java.util.concurrent.CountDownLatch;
import reactor.core.publisher.Flux;

/**
 * How fast memory goes over the loopback interface: two blocking threads and a plain socket, and a
 * connection of this package. A program, not a test: {@code TcpThroughput [gibibytes] [runs]}.
 *
 * <p>Both send slabs of 256 KiB of direct memory out of 4 MiB, and copy what arrives into a region
 * of 64 MiB that was touched before.
 */
final class TcpThroughput {

  private static final int SLAB = 256 << 10;
  private static final int SLABS = 16;

  private final long bytes;
  private final MemorySegment source = Arena.global().allocate((long) SLAB * SLABS, 4096);
  private final MemorySegment region = Arena.global().allocate(64 << 20, 4096).fill((byte) 1);
  private long received;

  private TcpThroughput(long bytes) {
    this.bytes = bytes;
    source.fill((byte) 7);
  }

  public static void main(String[] args) throws Exception {
    long gibibytes = args.length > 0 ? Long.parseLong(args[0]) : 4;
    int runs = args.length > 1 ? Integer.parseInt(args[1]) : 5;
    int readBytes = Integer.getInteger("read", TcpSpec.loopback(1).readBytes());
    TcpThroughput bench = new TcpThroughput(gibibytes << 30);
    TcpSpec epoll = TcpSpec.loopback(0).withReadBytes(readBytes);
    double[][] figures = new double[3][runs + 1];
    for (int run = 0; run <= runs; run++) { // the first is for warming up
      figures[0][run] = bench.plain();
      figures[1][run] = bench.connection(epoll);
      figures[2][run] = bench.connection(epoll.withNativeTransport(false));
    }
    String[] names = {"plain", "epoll", "NIO"};
    for (int i = 0; i < names.length; i++) {
      double[] sorted = Arrays.copyOfRange(figures[i], 1, runs + 1);
      Arrays.sort(sorted);
      System.out.printf(
          "%s: %.2f GB/s (%.2f to %.2f)%n",
          names[i], sorted[runs / 2], sorted[0], sorted[runs - 1]);
    }
  }

  private ByteBuffer slab(int i) {
    return source.asSlice((long) (i % SLABS) * SLAB, SLAB).asByteBuffer();
  }

  private void keep(ByteBuffer bytes) {
    int length = bytes.remaining();
    long at = received % (region.byteSize() - (4 << 20));
    MemorySegment.copy(MemorySegment.ofBuffer(bytes), 0, region, at, length);
    received += length;
  }

  private double rate(long nanos) {
    return bytes / (double) nanos;
  }

  private double plain() throws Exception {
    received = 0;
    try (ServerSocketChannel listening = ServerSocketChannel.open()) {
      listening.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
      try (SocketChannel to = SocketChannel.open(listening.getLocalAddress());
          SocketChannel from = listening.accept()) {
        long start = System.nanoTime();
        Thread writer =
            Thread.ofPlatform()
                .start(
                    () -> {
                      try {
                        for (int i = 0; i < bytes / SLAB; i++) {
                          ByteBuffer slab = slab(i);
                          while (slab.hasRemaining()) {
                            to.write(slab);
                          }
                        }
                      } catch (java.io.IOException e) {
                        throw new java.io.UncheckedIOException(e);
                      }
                    });
        ByteBuffer chunk = ByteBuffer.allocateDirect(SLAB);
        while (received < bytes) {
          chunk.clear();
          from.read(chunk);
          keep(chunk.flip());
        }
        long nanos = System.nanoTime() - start;
        writer.join();
        return rate(nanos);
      }
    }
  }

  private double connection(TcpSpec spec) throws Exception {
    received = 0;
    TcpAcceptor acceptor = Objects.requireNonNull(TcpAcceptor.bind(spec).block());
    Connection to =
        Objects.requireNonNull(new TcpConnector(spec.withPort(acceptor.port())).connect().block());
    Connection from = Objects.requireNonNull(acceptor.accept().block());
    CountDownLatch all = new CountDownLatch(1);
    long start = System.nanoTime();
    from.receive()
        .subscribe(
            buffer -> {
              keep(buffer.bytes());
              buffer.release();
              if (received == bytes) {
                all.countDown();
              }
            });
    to.send(Flux.range(0, Math.toIntExact(bytes / SLAB)).map(i -> TransportBuffer.of(slab(i))))
        .subscribe();
    all.await();
    long nanos = System.nanoTime() - start;
    to.dispose();
    from.dispose();
    acceptor.dispose();
    return rate(nanos);
  }
}
