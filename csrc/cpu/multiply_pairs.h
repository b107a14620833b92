// Products of bfloat16 matrices with float32 sums, on the instructions for it: the Gram matrix and
// Apply of multiply.h over panels of pairs.
#pragma once

#include "cpu/multiply.h"

namespace ortho::cpu {

using PairPanels = Panels<BfloatPair>;

inline PairPanels TakePairs(const PairKernels& k, int64_t rows, int64_t columns, Scratch& scratch) {
  return {scratch.Take<BfloatPair>(RoundUp(columns, k.panel) * rows), rows, columns, k.panel};
}

// A matrix of bfloat16 as the pair kernels walk it: rows padded with zeros to whole tiles, columns
// to whole vectors of pairs.
struct PaddedBfloats {
  uint16_t* data = nullptr;
  int64_t rows = 0, columns = 0;

  static PaddedBfloats Take(const KernelTable& table, int64_t rows, int64_t columns,
                            Scratch& scratch) {
    const int64_t r = PaddedSide(table.f32, rows), c = RoundUp(columns, 2 * table.pairs.vector);
    return {scratch.Take<uint16_t>(r * c), r, c};
  }
  uint16_t* At(int64_t row, int64_t column) const { return data + row * columns + column; }
};

// pairs(i, j) = {a(2 i, j), a(2 i + 1, j)}, rounded: a is ready to be an operand.
inline void RoundToPairs(const PairKernels& kernels, const Panels<float>& a,
                         const PairPanels& pairs) {
  for (int64_t j = 0; j < pairs.columns; j += pairs.width)
    for (int64_t i = 0; i < pairs.rows; ++i)
      kernels.round(std::min(pairs.width, pairs.columns - j), a.At(2 * i, j), a.At(2 * i + 1, j),
                    pairs.At(i, j));
}

// g = x x^T.
inline void Gram(const KernelTable& table, const PaddedBfloats& x, const Panels<float>& g,
                 Scratch& scratch) {
  const PairKernels& kernels = table.pairs;
  const size_t mark = scratch.used();
  const int64_t total = x.columns / 2, vector = kernels.vector;
  const int64_t depth = std::min(total, RoundUp(SliceDepth<BfloatPair>(total), vector));
  PairPanels slice = TakePairs(kernels, depth, x.rows, scratch);
  if (!scratch.measuring()) {
    for (int64_t k = 0; k < total; k += depth) {
      slice.rows = std::min(depth, total - k);
      for (int64_t r = 0; r < x.rows; r += vector)
        for (int64_t i = 0; i < slice.rows; i += vector)
          kernels.transpose(reinterpret_cast<const BfloatPair*>(x.At(r, 2 * (k + i))), total,
                            slice.At(i, r), slice.width);
      Multiply(kernels, slice, slice, 1.0f, k > 0 ? &g : nullptr, 1.0f, g, Shape::kUpper);
    }
    table.f32.mirror(g.rows, g.data);
  }
  scratch.Release(mark);
}

// x <- a x + p^T x, rounded to bfloat16.
inline void Apply(const KernelTable& table, const PairPanels& p, float a, const PaddedBfloats& x,
                  Scratch& scratch) {
  const PairKernels& kernels = table.pairs;
  const size_t mark = scratch.used();
  const int64_t width = kernels.panel, depth = p.rows;
  const int64_t block = ApplyBlock(table.f32, x.rows, x.columns);
  PairPanels slice = TakePairs(kernels, depth, block, scratch);
  Panels<float> product = Panels<float>::Take(table.f32, x.rows, block, scratch);
  if (!scratch.measuring()) {
    const int bfloat = static_cast<int>(Dtype::kBfloat16);
    for (int64_t l = 0; l < x.columns; l += block) {
      slice.columns = product.columns = std::min(block, x.columns - l);
      const auto each_panel = [&](const auto& visit) {
        for (int64_t c = 0; c < slice.columns; c += width)
          visit(c, std::min(width, slice.columns - c));
      };
      each_panel([&](int64_t c, int64_t n) {
        for (int64_t i = 0; i < depth; ++i)
          kernels.interleave(n, x.At(2 * i, l + c), x.At(2 * i + 1, l + c), slice.At(i, c));
        table.f32.load[bfloat](x.rows, n, x.At(0, l + c), x.columns, 1.0f, product.Panel(c), width);
      });
      Multiply(kernels, p, slice, 1.0f, &product, a, product);
      each_panel([&](int64_t c, int64_t n) {
        table.f32.store[bfloat](x.rows, n, product.Panel(c), width, x.At(0, l + c), x.columns);
      });
    }
  }
  scratch.Release(mark);
}

}  // namespace ortho::cpu
