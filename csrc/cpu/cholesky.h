// Cholesky factorization with the inverse of its factor, and the inverse of the whole matrix.
#pragma once

#include "cpu/multiply.h"

namespace ortho::cpu {

// A + shift I = U^T U in u (upper triangle; below it u is left with garbage), and m = U^-T (lower,
// zeros only inside the diagonal blocks). Left-looking, a panel at a time. u may be a. Returns
// false at a pivot that is not positive: then u and m hold nothing of use.
template <typename T>
bool Factor(const Kernels<T>& kernels, const Panels<T>& a, T shift, const Panels<T>& u,
            const Panels<T>& m) {
  const int64_t side = a.rows, width = a.width, vector = kernels.vector;
  alignas(64) T transposed[48 * 48];
  for (int64_t k = 0; k < side; k += width) {
    const int64_t n = std::min(width, side - k), first = k / width;
    const int64_t ahead = (side - k + width - 1) / width;
    const auto vectors = [&](int64_t p) {
      return static_cast<int>(std::min(width, side - p * width) / vector);
    };
    // Block row k of A, less what the finished rows above contribute.
    const auto update = [&](int64_t p, T* target) {
      kernels.product(vectors(p), n, k, u.Panel(k), 0, u.data + p * u.panel(), T(-1),
                      a.data + p * a.panel() + k * width, T(1), target);
    };
    T *diagonal = u.At(k, k), *inverse = m.At(k, k);
    update(first, diagonal);
    for (int64_t i = 0; i < n; ++i) diagonal[i * width + i] += shift;
    if (!(kernels.cholesky(static_cast<int>(n), diagonal, inverse) > T(0))) return false;

    // The inverse of the diagonal block, k-major, to stand on the left of products.
    for (int64_t r = 0; r < n; r += vector)
      for (int64_t c = 0; c < n; c += vector)
        kernels.transpose(inverse + r * width + c, width, transposed + c * width + r, width);
    const auto solve = [&](int64_t p, const T* right, T sign, T* target) {
      kernels.product(vectors(p), n, n, transposed, 0, right, sign, nullptr, T(0), target);
    };
    SplitLoop(ahead - 1, static_cast<double>(n * k * (side - k)), [&](int64_t i) {
      alignas(64) T block[48 * 48];
      const int64_t p = first + 1 + i;
      update(p, block);
      solve(p, block, T(1), u.data + p * u.panel() + k * width);
    });
    SplitLoop(first, static_cast<double>(n * k * k / 2), [&](int64_t p) {
      alignas(64) T block[48 * 48];
      const int64_t j = p * width;
      kernels.product(3, n, k - j, u.Panel(k) + j * width, 0, m.data + p * m.panel() + j * width,
                      T(1), nullptr, T(0), block);
      solve(p, block, T(-1), m.data + p * m.panel() + k * width);
    });
  }
  return true;
}

// w = A^-1 = m^T m from the factor's inverse, both triangles.
template <typename T>
void InverseFromFactor(const Kernels<T>& kernels, const Panels<T>& m, const Panels<T>& w) {
  const int64_t side = m.rows, width = m.width, vector = kernels.vector;
  // Long columns are summed in slices: a whole one times its panel would leave the cache.
  const int64_t depth = side <= 320 ? side : RoundUp(kDepth<T>, width);
  for (int64_t k = 0; k < side; k += depth) {
    const int64_t end = std::min(side, k + depth);
    SplitLoop((end + width - 1) / width, static_cast<double>(end * end * (end - k) / 3),
              [&](int64_t p) {
                const int64_t j = p * width, columns = std::min(width, side - j);
                const T* right = m.data + p * m.panel();
                T* target = w.data + p * w.panel();
                const auto rows = [&](int64_t i, int64_t count, int64_t skip, const T* left,
                                      int64_t begin) {
                  T* at = target + i * width + skip;
                  kernels.product(static_cast<int>((columns - skip) / vector), count, end - begin,
                                  left + begin * width, m.panel(), right + begin * width + skip,
                                  T(1), j < k ? at : nullptr, T(1), at);
                };
                // m is zero above its diagonal: sums begin there.
                rows(0, j, 0, m.data, std::max(j, k));
                for (int64_t v = 0; v < columns; v += vector)
                  rows(j + v, vector, v, right + v, std::max(j + v, k));
              });
  }
  kernels.mirror(w.rows, w.data);
}

}  // namespace ortho::cpu
