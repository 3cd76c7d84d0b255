package io.pageflux.examples.kv;

/** The store's memory is not what it should be. */
public final class KvDamageException extends RuntimeException {

  private static final long serialVersionUID = 1L;

  /** Says what is wrong, and where. */
  public KvDamageException(String message) {
    super(message);
  }
}
