package io.pageflux.dirty;

public record TrackingSpec() {
  public static TrackingSpec auto() {
    return new TrackingSpec();
  }
}
