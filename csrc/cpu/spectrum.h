// What is known of the spectrum of a symmetric positive definite matrix in panels.
#pragma once

#include <cmath>

#include "cpu/panels.h"

namespace ortho::cpu {

// Bounds on the eigenvalues of G = X X^T: rigorous, for ||A||_F >= ||A||, and loose by at most
// sqrt(m) at either end, which costs Newton a fraction of a step. (A power iteration is closer, and
// now and then, from a start that misses the top eigenvector, wrong.)
struct SpectrumBounds {
  double low = 0, high = 0;
  double condition() const { return std::sqrt(high / low); }  // of X
};

template <typename T>
double FrobeniusNorm(const Kernels<T>& kernels, const Panels<T>& a) {
  double sum = 0;
  for (int64_t c = 0; c < a.columns; c += a.width) {
    const int64_t columns = std::min(a.width, a.columns - c);
    if (columns == a.width) {
      sum += kernels.dot(a.rows * a.width, a.Panel(c), a.Panel(c));
    } else {
      for (int64_t r = 0; r < a.rows; ++r) sum += kernels.dot(columns, a.At(r, c), a.At(r, c));
    }
  }
  return std::sqrt(sum);
}

// Elements of scratch for LargestEigenvalue.
template <typename T>
int64_t EigenvalueScratch(const Panels<T>& a) {
  return 2 * RoundUp(a.columns, a.width);
}

// The largest eigenvalue of the leading block of `a` (side x side, the rest of it apart) from
// below, by power iteration from a fixed pseudo-random start. After k products it is within a
// factor o^(1/k), where o is the start's overlap with the top eigenvector, about m^(-1/2): close
// enough for a rank threshold, which has a factor to spare.
template <typename T>
double LargestEigenvalue(const Kernels<T>& kernels, const Panels<T>& a, int64_t side, T* scratch) {
  constexpr int kProducts = 8;
  T *x = scratch, *y = scratch + EigenvalueScratch(a) / 2;
  uint32_t state = 1;
  for (int64_t i = 0; i < a.rows; ++i) {
    state = state * 1664525u + 1013904223u;  // the constants of Numerical Recipes' generator
    const T magnitude = T(1) + static_cast<T>(state >> 16) / T(65536);
    x[i] = i >= side ? T(0) : state & 0x8000u ? -magnitude : magnitude;
  }
  double norm = std::sqrt(kernels.dot(a.rows, x, x)), eigenvalue = 0;
  for (int product = 0; product < kProducts; ++product) {
    if (!(norm > 0)) return 0;
    kernels.combine(a.rows, static_cast<T>(1 / norm), x, T(0), nullptr, x);
    for (int64_t c = 0; c < a.columns; c += a.width)
      kernels.weigh_rows(static_cast<int>(std::min(a.width, a.columns - c) / kernels.vector),
                         a.rows, x, a.Panel(c), y + c);
    std::swap(x, y);
    norm = eigenvalue = std::sqrt(kernels.dot(a.rows, x, x));
  }
  return eigenvalue;
}

}  // namespace ortho::cpu
