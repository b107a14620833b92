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
  int64_t panel() const { return width * rows; }  // elements of one
  T* Panel(int64_t column) const { return data + column / width * (rows * width); }
  T* At(int64_t row, int64_t column) const { return Panel(column) + row * width + column % width; }
};

// target(k, c) = scale * source(k0 + k, c0 + c) for k < rows, c < columns, where `k_is_contiguous`
// says which index of the source has unit stride; zero-padded to the size of `target`.
template <typename T>
void Pack(const Kernels<T>& kernels, const char* data, Dtype dtype, int64_t stride,
          bool k_is_contiguous, int64_t k0, int64_t rows, int64_t c0, int64_t columns, T scale,
          const Panels<T>& target) {
  const int64_t item = ItemSize(dtype), width = target.width;
  // Source rows are panel rows, or panel columns: then a vector's worth of them at a time.
  const int64_t step = k_is_contiguous ? kernels.vector : width;
  for (int64_t c = 0; c < target.columns; c += step) {
    const int64_t here = std::clamp<int64_t>(columns - c, 0, step);
    T* panel = target.At(0, c);
    if (k_is_contiguous) {
      kernels.load_transposed[static_cast<int>(dtype)](here > 0 ? rows : 0, here,
                                                       data + ((c0 + c) * stride + k0) * item,
                                                       stride, scale, panel, width);
    } else if (here > 0) {
      kernels.load[static_cast<int>(dtype)](rows, here, data + (k0 * stride + c0 + c) * item,
                                            stride, scale, panel, width);
      for (int64_t k = 0; k < rows && here < width; ++k)
        std::fill(panel + k * width + here, panel + (k + 1) * width, T(0));
    }
    for (int64_t k = here > 0 ? rows : 0; k < target.rows; ++k)
      std::fill_n(panel + k * width, step, T(0));
  }
}

// visit(a_ii) for i in [begin, end). A division for each would be felt on small sides.
template <typename T, typename Visit>
void ForDiagonal(const Panels<T>& a, int64_t begin, int64_t end, const Visit& visit) {
  for (int64_t i = begin; i < end;) {
    const int64_t next = std::min(end, (i / a.width + 1) * a.width);
    for (T* element = a.At(i, i); i < next; ++i, element += a.width + 1) visit(*element);
  }
}

template <typename T>
T Trace(const Panels<T>& a) {
  T sum = 0;
  ForDiagonal(a, 0, a.rows, [&](T element) { sum += element; });
  return sum;
}

template <typename T>
void AddToDiagonal(const Panels<T>& a, int64_t begin, int64_t end, T value) {
  ForDiagonal(a, begin, end, [=](T& element) { element += value; });
}

}  // namespace ortho::cpu
