package io.pageflux.examples.bench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.util.concurrent.CompletableFuture;

/**
 * The rival of raw migration: bytes written from memory to a blocking socket, and read from it into
 * memory, with nothing in between.
 */
final class PlainCopy {

  private static final int PIECE_BYTES = 256 << 10;

  private PlainCopy() {}

  /** Copies the first bytes of one block to another. {@return how many seconds that took} */
  static double seconds(MemorySegment source, MemorySegment destination, long bytes)
      throws IOException {
    try (ServerSocketChannel server = ServerSocketChannel.open()) {
      server.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
      CompletableFuture<Void> sent =
          CompletableFuture.runAsync(
              () -> {
                try (SocketChannel out = SocketChannel.open(server.getLocalAddress())) {
                  for (long at = 0; at < bytes; at += PIECE_BYTES) {
                    ByteBuffer piece = piece(source, at, bytes);
                    while (piece.hasRemaining()) {
                      out.write(piece);
                    }
                  }
                } catch (IOException e) {
                  throw new UncheckedIOException(e);
                }
              },
              task -> Thread.ofPlatform().daemon().start(task));
      try (SocketChannel in = server.accept()) {
        long began = System.nanoTime();
        for (long at = 0; at < bytes; at += PIECE_BYTES) {
          ByteBuffer piece = piece(destination, at, bytes);
          while (piece.hasRemaining()) {
            if (in.read(piece) < 0) {
              throw new IOException("the connection ended after " + at + " bytes");
            }
          }
        }
        double seconds = (System.nanoTime() - began) / 1e9;
        sent.join();
        return seconds;
      }
    }
  }

  private static ByteBuffer piece(MemorySegment memory, long at, long bytes) {
    return memory.asSlice(at, Math.min(PIECE_BYTES, bytes - at)).asByteBuffer();
  }
}
