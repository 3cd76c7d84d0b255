package io.pageflux.examples.kv;

/** What a store asks before it touches its memory, where that may not all be there. */
@FunctionalInterface
public interface KvAccess {

  /** All memory is there. */
  KvAccess DIRECT = (offset, bytes) -> {};

  /** Waits until some bytes of the store's block may be read and written, from then on. */
  void require(long offset, long bytes);
}
