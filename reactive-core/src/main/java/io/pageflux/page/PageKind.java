package io.pageflux.page;

/** What a batch holds of a page. The {@linkplain #code() code} is what travels. */
public enum PageKind {
  /** Nothing: every byte of the page is zero. */
  ZERO(0),
  /** The page as it is. */
  RAW(1),
  /** XBZRLE: how the page differs from what was sent of it before. */
  DELTA(2),
  /** Nothing: the source has put the page into the destination's memory by another way. */
  PLACED(3);

  private static final PageKind[] BY_CODE = values();

  private final int code;

  PageKind(int code) {
    this.code = code;
  }

  /** {@return the number that stands for this kind on the wire} */
  public int code() {
    return code;
  }

  /**
   * {@return the kind with a code}
   *
   * @throws IllegalArgumentException if there is none
   */
  public static PageKind ofCode(int code) {
    if (code < 0 || code >= BY_CODE.length) {
      throw new IllegalArgumentException("no page kind has the code " + code);
    }
    return BY_CODE[code];
  }
}
