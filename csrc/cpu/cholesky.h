// Cholesky factorization with the inverse of its factor, and the inverse of the whole matrix.
#pragma once

#include "cpu/multiply.h"

namespace ortho::cpu {

// A = U^T U in place (upper triangle; below it `a` is left with garbage), and m = U^-T (lower,
// zeros only inside the diagonal blocks). Left-looking, a panel at a time. Returns false at a pivot
// that is not positive: then `a` and `m` hold nothing of use.
template <typename T>
bool Factor(const Kernels<T>& kernels, const Panels<T>& a, const Panels<T>& m) {
  const int64_t side = a.rows, width = a.width, tile = kernels.rows, vector = kernels.vector;
  alignas(64) T transposed[48 * 48];
  const auto vectors = [&](int64_t column) {
    return static_cast<int>(std::min(width, side - column) / vector);
  };
  for (int64_t k = 0; k < side; k += width) {
    const int64_t n = std::min(width, side - k);
    // What the finished rows above contribute to this block row.
    const int64_t ahead = (side - k + width - 1) / width;
    if (k > 0)
      SplitLoop(ahead, static_cast<double>(n * k * (side - k)), [&](int64_t p) {
        const int64_t j = k + p * width;
        for (int64_t i = 0; i < n; i += tile)
          kernels.product(vectors(j), k, a.At(0, k + i), a.At(0, j), T(-1), a.At(k + i, j), T(1),
                          a.At(k + i, j));
      });
    if (!(kernels.cholesky(static_cast<int>(n), a.At(k, k), m.At(k, k)) > T(0))) return false;

    // The inverse of the diagonal block, k-major, to stand on the left of products.
    for (int64_t r = 0; r < n; r += vector)
      for (int64_t c = 0; c < n; c += vector)
        kernels.transpose(m.At(k, k) + r * width + c, width, transposed + c * width + r, width);
    const auto solve = [&](int64_t j, const T* right, T sign, T* result) {
      for (int64_t i = 0; i < n; i += tile)  // row i of the lower inverse ends at column i
        kernels.product(vectors(j), std::min(n, RoundUp(i + tile, vector)), transposed + i, right,
                        sign, nullptr, T(0), result + i * width);
    };
    for (int64_t j = k + width; j < side; j += width) {
      alignas(64) T block[48 * 48];
      solve(j, a.At(k, j), T(1), block);
      std::memcpy(a.At(k, j), block, sizeof(T) * static_cast<size_t>(n * width));
    }
    SplitLoop(k / width, static_cast<double>(n * k * k / 2), [&](int64_t p) {
      alignas(64) T block[48 * 48];
      const int64_t j = p * width;
      for (int64_t i = 0; i < n; i += tile)
        kernels.product(3, k - j, a.At(j, k + i), m.At(j, j), T(1), nullptr, T(0),
                        block + i * width);
      solve(j, block, T(-1), m.At(k, j));
    });
  }
  return true;
}

// w = A^-1 = m^T m from the factor's inverse, both triangles.
template <typename T>
void InverseFromFactor(const Kernels<T>& kernels, const Panels<T>& m, const Panels<T>& w) {
  const int64_t side = m.rows, width = m.width, tile = kernels.rows, vector = kernels.vector;
  // Long columns are summed in slices: a whole one times its panel would leave the cache.
  const int64_t depth = side <= 320 ? side : RoundUp(kDepth<T>, width);
  for (int64_t k = 0; k < side; k += depth) {
    const int64_t end = std::min(side, k + depth);
    SplitLoop(
        (end + width - 1) / width, static_cast<double>(end * end * (end - k) / 3), [&](int64_t p) {
          const int64_t j = p * width;
          const int64_t columns = std::min(width, side - j);
          for (int64_t i = 0; i < j + columns && i < end; i += tile) {
            const int64_t skip = i > j ? (i - j) / vector * vector : 0;
            const int64_t first = std::max(j, i / vector * vector);  // m is zero above its diagonal
            const int64_t begin = std::max(first, k);
            T* target = w.At(i, j + skip);
            kernels.product(static_cast<int>((columns - skip) / vector), end - begin,
                            m.At(begin, i), m.At(begin, j + skip), T(1),
                            first < k ? target : nullptr, T(1), target);
          }
        });
  }
  Mirror(kernels, w);
}

}  // namespace ortho::cpu
