package io.pageflux.examples.bench.qemu;

import io.pageflux.examples.bench.Figures;
import java.util.ArrayList;
import java.util.List;
import java.util.function.ToDoubleFunction;

/** The migrations by one means in one scene. */
final class Series {

  private final Means means;
  private final List<Move> moves = new ArrayList<>();

  Series(Means means) {
    this.means = means;
  }

  void add(Move move) {
    moves.add(move);
  }

  Means means() {
    return means;
  }

  List<Move> moves() {
    return moves;
  }

  Figures seconds() {
    return figures(move -> move.arrivedMillis() / 1e3);
  }

  Figures secondsAsQemuSays() {
    return figures(move -> move.totalMillis() / 1e3);
  }

  Figures wireMegabytes() {
    return figures(move -> move.wireBytes() / 1e6);
  }

  Figures downtime() {
    return figures(Move::downtimeMillis);
  }

  Figures silence() {
    return figures(Move::silenceMillis);
  }

  private Figures figures(ToDoubleFunction<Move> value) {
    return Figures.of(moves.stream().mapToDouble(value).toArray());
  }
}
