// Matrices in panels (kernel_table.h says why), and their way in from strided memory.
#pragma once

#include <algorithm>
#include <cstring>

#include "cpu/kernel_table.h"
#include "cpu/scratch.h"
#include "cpu/stored.h"

namespace ortho::cpu {

inline int64_t RoundUp(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

// A side padded to what the kernels step by: whole vectors and whole tiles.
template <typename T>
int64_t PaddedSide(const Kernels<T>& k, int64_t n) {
  return RoundUp(n, std::max(k.vector, k.rows));
}

// Element (r, c) of a rows x columns matrix lies in panel c / width, at r * width + c % width.
template <typename T>
struct Panels {
  T* data = nullptr;
  int64_t rows = 0, columns = 0;
  int64_t width = 0;

  static int64_t Elements(const Kernels<T>& k, int64_t rows, int64_t columns) {
    return RoundUp(columns, k.panel) * rows;
  }
  static Panels Take(const Kernels<T>& k, int64_t rows, int64_t columns, Scratch& scratch) {
    return {scratch.Take<T>(Elements(k, rows, columns)), rows, columns, k.panel};
  }

  int64_t elements() const { return RoundUp(columns, width) * rows; }
  T* Panel(int64_t column) const { return data + column / width * (rows * width); }
  T* At(int64_t row, int64_t column) const { return Panel(column) + row * width + column % width; }
};

// target(k, c) = scale * source(k0 + k, c0 + c) for k < rows, c < columns, where `k_is_contiguous`
// says which index of the source has unit stride; zero-padded to the size of `target`. `staging`:
// see below.
template <typename T>
void Pack(const Kernels<T>& kernels, const char* data, Dtype dtype, int64_t stride,
          bool k_is_contiguous, int64_t k0, int64_t rows, int64_t c0, int64_t columns, T scale,
          const Panels<T>& target, T* staging) {
  const auto load = kernels.load[static_cast<int>(dtype)];
  const int64_t item = ItemSize(dtype), width = target.width, vector = kernels.vector;
  if (!k_is_contiguous) {
    for (int64_t c = 0; c < target.columns; c += width) {
      const int64_t here = std::clamp<int64_t>(columns - c, 0, width);
      T* panel = target.Panel(c);
      if (here > 0)
        load(rows, here, data + (k0 * stride + c0 + c) * item, stride, scale, panel, width);
      if (here < width)
        for (int64_t k = 0; k < rows; ++k)
          std::fill(panel + k * width + here, panel + (k + 1) * width, T(0));
      std::fill(panel + rows * width, panel + target.rows * width, T(0));
    }
    return;
  }
  // Source rows are panel columns: load a vector's worth of them side by side, transpose block by
  // block.
  const int64_t padded = RoundUp(rows, vector);
  for (int64_t c = 0; c < target.columns; c += vector) {
    const int64_t here = std::clamp<int64_t>(columns - c, 0, vector);
    if (here > 0)
      load(here, rows, data + ((c0 + c) * stride + k0) * item, stride, scale, staging, padded);
    std::fill(staging + here * padded, staging + vector * padded, T(0));
    int64_t k = 0;
    for (; k + vector <= rows; k += vector)
      kernels.transpose(staging + k, padded, target.At(k, c), width);
    for (; k < rows; ++k)
      for (int64_t j = 0; j < vector; ++j) target.At(k, c)[j] = staging[j * padded + k];
    for (; k < target.rows; ++k) std::fill_n(target.At(k, c), vector, T(0));
  }
}

// Elements of `staging` that Pack needs to take `rows` values of k at once.
template <typename T>
int64_t StagingElements(const Kernels<T>& kernels, int64_t rows) {
  return kernels.vector * RoundUp(rows, kernels.vector);
}

// Copies the blocks above the diagonal of a square matrix to their places below it.
template <typename T>
void Mirror(const Kernels<T>& k, const Panels<T>& a) {
  for (int64_t c = k.vector; c < a.columns; c += k.vector)
    for (int64_t r = 0; r < c; r += k.vector) k.transpose(a.At(r, c), a.width, a.At(c, r), a.width);
}

template <typename T>
void AddToDiagonal(const Panels<T>& a, int64_t begin, int64_t end, T value) {
  for (int64_t i = begin; i < end; ++i) *a.At(i, i) += value;
}

}  // namespace ortho::cpu
