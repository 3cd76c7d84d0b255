package io.pageflux.examples.fault;

import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * What a source notes of its checkpoints, in a file, for those who come after its death: what has
 * been written is the kernel's, whatever becomes of the process.
 *
 * @param digests of the memory, by the checkpoints' numbers
 * @param acknowledged the newest one that the source knows to be held; 0 for none
 */
record CheckpointNotes(Map<Long, String> digests, long acknowledged) {

  private static final String FILE = "notes";

  /** Takes notes. Those of an attempt before are gone. */
  static final class Writer implements AutoCloseable {
    private final FileChannel file;

    Writer(Path folder) {
      try {
        file =
            FileChannel.open(
                folder.resolve(FILE),
                StandardOpenOption.CREATE,
                StandardOpenOption.WRITE,
                StandardOpenOption.TRUNCATE_EXISTING);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    /** To be called before a checkpoint's end is said. */
    void taken(long number, String digest) {
      write("taken " + number + " " + digest);
    }

    void acknowledged(long number) {
      write("acknowledged " + number + " -");
    }

    private synchronized void write(String line) {
      try {
        file.write(ByteBuffer.wrap((line + "\n").getBytes(StandardCharsets.US_ASCII)));
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    @Override
    public void close() {
      try {
        file.close();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  /** Reads what a source has noted; nothing if it has not come to it. */
  static CheckpointNotes read(Path folder) {
    Map<Long, String> digests = new TreeMap<>();
    long acknowledged = 0;
    Path file = folder.resolve(FILE);
    try {
      for (String line : Files.exists(file) ? Files.readAllLines(file) : List.<String>of()) {
        String[] words = line.split(" ", -1);
        long number = Long.parseLong(words[1]);
        if (words[0].equals("taken")) {
          digests.put(number, words[2]);
        } else {
          acknowledged = number;
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return new CheckpointNotes(digests, acknowledged);
  }

  /** {@return whether a file of a run's folder is of this kind} */
  static boolean isFile(String name) {
    return name.equals(FILE);
  }

  /** {@return what is in a memory, in short} It must not be written meanwhile. */
  static String digest(GuestMemory memory) {
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      for (RamBlock block : memory.blocks()) {
        digest.update(block.segment().asByteBuffer());
      }
      return HexFormat.of().formatHex(digest.digest(), 0, 16);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }
}
