package io.pageflux.migration;

import io.pageflux.wire.WireLimits;
import io.pageflux.wire.WireRecord;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Cuts device state into pieces that fit a record. */
final class DeviceStatePieces {

  private DeviceStatePieces() {}

  static List<WireRecord.DeviceState> cut(byte[] state) {
    List<WireRecord.DeviceState> pieces = new ArrayList<>();
    int max = WireLimits.MAX_DEVICE_STATE_PIECE_BYTES;
    for (int from = 0; from < state.length; from += max) {
      pieces.add(
          new WireRecord.DeviceState(
              Arrays.copyOfRange(state, from, Math.min(state.length, from + max))));
    }
    return pieces;
  }
}
