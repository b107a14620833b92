// The last steps of an iteration that began in float64: float32 is enough for them.
#pragma once

#include "cpu/inverse_root.h"

namespace ortho::cpu {

// target = scale * source, the rest of target an identity. Panels of float are twice as wide as
// those of double, so that a panel of double is half a panel of float.
inline void Narrow(const KernelTable& table, const Panels<double>& source, double scale,
                   const Panels<float>& target) {
  const auto store = table.f64.store[static_cast<int>(Dtype::kFloat32)];
  table.f64.combine(source.elements(), scale, source.data, 0.0, nullptr, source.data);
  for (int64_t c = 0; c < source.columns; c += source.width)
    store(source.rows, std::min(source.width, source.columns - c), source.Panel(c), source.width,
          target.At(0, c), target.width);
  for (int64_t r = 0; r < target.rows; ++r)
    for (int64_t c = r < source.rows ? source.columns : 0; c < target.columns; ++c)
      *target.At(r, c) = r == c ? 1.0f : 0.0f;
}

inline void Widen(const KernelTable& table, const Panels<float>& source,
                  const Panels<double>& target) {
  const auto load = table.f64.load[static_cast<int>(Dtype::kFloat32)];
  for (int64_t c = 0; c < target.columns; c += target.width)
    load(target.rows, std::min(target.width, target.columns - c), source.At(0, c), source.width,
         1.0, target.Panel(c), target.width);
}

// fs.p = (what is left of G)^(-1/2) in float32, but for *factor.
inline void FloatTail(const KernelTable& table, const GramWorkspace<double>& ws,
                      GramWorkspace<float>& fs, const SpectrumBounds& left, double tolerance,
                      double* factor) {
  const double unit = 1 / left.high;
  Narrow(table, ws.g, unit, fs.g);
  SpectrumBounds bounds{left.low * unit, 1};
  const Root root = InverseRoot(table.f32, fs, &bounds, false, tolerance, 0, factor);
  *factor = root == Root::kDone ? *factor * std::sqrt(unit) : std::nan("");
}

// ws.p <- ws.p fs.p. Apply takes p^T X, and (P C)^T = C P for symmetric factors: what float32 left
// in C stands outside.
inline void MultiplyTail(const KernelTable& table, GramWorkspace<double>& ws,
                         const GramWorkspace<float>& fs) {
  Widen(table, fs.p, ws.s);
  Multiply<double>(table.f64, ws.p, ws.s, 1.0, nullptr, 0.0, ws.m);
  std::swap(ws.p, ws.m);
}

}  // namespace ortho::cpu
