// Functions of a symmetric positive definite G that never leave the m x m domain: the inverse
// square root by scaled Newton, and the projector onto its range. Every iterate is a function of G,
// so all factors commute and every product is symmetric.
#pragma once

#include <cmath>
#include <utility>

#include "cpu/cholesky.h"

namespace ortho::cpu {

template <typename T>
struct GramWorkspace {
  Panels<T> g, p, factor, m, w, s;
  GramWorkspace(const Kernels<T>& kernels, int64_t side, Scratch& scratch) {
    for (Panels<T>* each : {&g, &p, &factor, &m, &w, &s})
      *each = Panels<T>::Take(kernels, side, side, scratch);
  }
};

template <typename T>
void Combine(const Kernels<T>& kernels, double alpha, const Panels<T>& a, double beta,
             const Panels<T>& b, double identity, const Panels<T>& c) {
  kernels.combine(c.elements(), static_cast<T>(alpha), a.data, static_cast<T>(beta), b.data,
                  c.data);
  AddToDiagonal(c, 0, c.rows, static_cast<T>(identity));
}

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

// What is known of the spectrum of G: both ends rigorous, for ||G||_F >= ||G|| and ||W||_F >=
// ||W||. Each is loose by at most sqrt(m), which costs Newton a fraction of a step.
struct SpectrumBounds {
  double low = 0, high = 0;
  double condition() const { return std::sqrt(high / low); }  // of X, where G = X X^T
};

// The first inverse: whether G is positive definite to working precision, and where its spectrum
// begins. Leaves G^-1 in ws.w.
template <typename T>
bool InvertAndBound(const Kernels<T>& kernels, GramWorkspace<T>& ws, SpectrumBounds* bounds) {
  std::memcpy(ws.factor.data, ws.g.data, sizeof(T) * static_cast<size_t>(ws.g.elements()));
  if (!Factor(kernels, ws.factor, ws.m)) return false;
  InverseFromFactor(kernels, ws.m, ws.w);
  if (bounds->low == 0) bounds->low = std::min(1 / FrobeniusNorm(kernels, ws.w), bounds->high);
  return bounds->low > 0;  // false for NaN: a factor that overflowed
}

// The series of (1 - e)^(-1/2) about the middle of the bounds, cut where |e|^(n+1) times the next
// coefficient is below the tolerance. 0: not yet.
inline int SeriesDegree(const SpectrumBounds& bounds, double tolerance) {
  const double e = (bounds.high - bounds.low) / (bounds.high + bounds.low);
  if (3. / 8 * e * e <= tolerance) return 1;
  if (5. / 16 * e * e * e <= tolerance) return 2;
  if (63. / 256 * e * e * e * e * e <= tolerance) return 4;
  return 0;
}

// s = (G / middle)^(-1/2) by the series; spoils g, factor and m.
template <typename T>
void SeriesInverseRoot(const Kernels<T>& kernels, GramWorkspace<T>& ws, double middle, int degree) {
  if (degree == 1) {
    Combine(kernels, -0.5 / middle, ws.g, 0, ws.g, 1.5, ws.s);
    return;
  }
  const Panels<T>& e = ws.g;
  Combine(kernels, -1 / middle, ws.g, 0, ws.g, 1, e);
  if (degree == 2) {
    MultiplySymmetric(kernels, e, e, T(3. / 8), e, T(1. / 2), ws.s);
  } else {
    const Panels<T>&square = ws.m, &inner = ws.factor;
    MultiplySymmetric(kernels, e, e, square);
    Combine(kernels, 35. / 128, square, 5. / 16, e, 3. / 8, inner);
    MultiplySymmetric(kernels, square, inner, T(1), e, T(1. / 2), ws.s);
  }
  AddToDiagonal(ws.s, 0, ws.s.rows, T(1));
}

// p <- p G^(-1/2) / returned factor, where p is the identity unless `has_p`. On entry ws.w holds
// G^-1 and the bounds hold. One step, with mu^4 = 1 / (low high):
//   P <- P (mu I + W / mu) / 2,    G <- (mu^2 G + 2 I + W / mu^2) / 4
// takes the condition number k of X to (sqrt k + 1 / sqrt k) / 2. Returns NaN if an iterate could
// not be factored, which a positive definite G does not do.
template <typename T>
double InverseRoot(const Kernels<T>& kernels, GramWorkspace<T>& ws, SpectrumBounds bounds,
                   double tolerance, bool has_p) {
  const auto multiply_p = [&] {
    if (has_p) {
      MultiplySymmetric(kernels, ws.p, ws.s, ws.m);
      std::swap(ws.p, ws.m);
    } else {
      std::swap(ws.p, ws.s);
      has_p = true;
    }
  };
  constexpr int kMaxSteps = 16;  // ample: condition 1e16 takes 7
  for (int step = 0; step < kMaxSteps; ++step) {
    if (const int degree = SeriesDegree(bounds, tolerance)) {
      const double middle = (bounds.high + bounds.low) / 2;
      SeriesInverseRoot(kernels, ws, middle, degree);
      multiply_p();
      return 1 / std::sqrt(middle);
    }
    if (step > 0 && !InvertAndBound(kernels, ws, &bounds)) break;
    const double mu2 = 1 / std::sqrt(bounds.low * bounds.high), mu = std::sqrt(mu2);
    Combine(kernels, 0.5 / mu, ws.w, 0, ws.w, 0.5 * mu, ws.s);
    Combine(kernels, 0.25 * mu2, ws.g, 0.25 / mu2, ws.w, 0.5, ws.g);
    multiply_p();
    const double root = std::sqrt(bounds.condition());
    bounds = {1, std::pow((root + 1 / root) / 2, 2)};
  }
  return std::nan("");
}

// The largest eigenvalue from below, by power iteration from a fixed pseudo-random start: after 20
// products within a few percent even where the start is unlucky, and a rank threshold asks for no
// more. x and y: side elements each.
template <typename T>
double LargestEigenvalue(const Kernels<T>& kernels, const Panels<T>& g, T* x, T* y) {
  uint32_t state = 1;
  for (int64_t i = 0; i < g.rows; ++i) {
    state = state * 1664525u + 1013904223u;  // the constants of Numerical Recipes' generator
    x[i] = T(1) + static_cast<T>(state >> 16) / T(65536);
    if (state & 0x8000u) x[i] = -x[i];
  }
  double eigenvalue = 0;
  for (int iteration = 0; iteration < 20; ++iteration) {
    const double norm = std::sqrt(kernels.dot(g.rows, x, x));
    if (!(norm > 0)) return 0;
    kernels.combine(g.rows, static_cast<T>(1 / norm), x, T(0), nullptr, x);
    for (int64_t c = 0; c < g.columns; ++c) y[c] = 0;
    for (int64_t c = 0; c < g.columns; c += g.width) {
      const int64_t columns = std::min(g.width, g.columns - c);
      for (int64_t r = 0; r < g.rows; ++r)
        kernels.combine(columns, T(1), y + c, x[r], g.At(r, c), y + c);
    }
    std::swap(x, y);
    eigenvalue = std::sqrt(kernels.dot(g.rows, x, x));
  }
  return eigenvalue;
}

// p = the projector onto the eigenvectors of G above `threshold`, sharp to rounding for eigenvalues
// a factor 4 away from it (a factor 2 in singular values), however many lie below:
//   F = G (G + d I)^-1,   then F <- 3 F^2 - 2 F^3 until it stands still.
// Leaves G' = F G F + filler (I - F) in ws.g, whose spectrum is that of the kept part, and G'^-1 in
// ws.w. False if a factorization failed.
template <typename T>
bool ProjectOntoRange(const Kernels<T>& kernels, GramWorkspace<T>& ws, double threshold,
                      double filler, SpectrumBounds* bounds) {
  std::memcpy(ws.factor.data, ws.g.data, sizeof(T) * static_cast<size_t>(ws.g.elements()));
  AddToDiagonal(ws.factor, 0, ws.factor.rows, static_cast<T>(threshold));
  if (!Factor(kernels, ws.factor, ws.m)) return false;
  InverseFromFactor(kernels, ws.m, ws.w);
  Combine(kernels, -threshold, ws.w, 0, ws.w, 1, ws.p);
  constexpr int kMaxSteps = 8;  // an eigenvalue at a factor 4 is within 1e-16 after 6
  for (int step = 0; step < kMaxSteps; ++step) {
    const Panels<T>&square = ws.s, &difference = ws.m;
    MultiplySymmetric(kernels, ws.p, ws.p, square);
    Combine(kernels, 1, square, -1, ws.p, 0, difference);
    const double distance = FrobeniusNorm(kernels, difference);
    MultiplySymmetric(kernels, square, ws.p, T(-2), square, T(3), ws.w);
    std::swap(ws.p, ws.w);
    if (distance < 1e-8) break;  // the step just taken squared it
  }
  MultiplySymmetric(kernels, ws.p, ws.g, ws.s);
  MultiplySymmetric(kernels, ws.s, ws.p, ws.m);
  Combine(kernels, 1, ws.m, -filler, ws.p, filler, ws.g);
  *bounds = {0, FrobeniusNorm(kernels, ws.g)};
  return InvertAndBound(kernels, ws, bounds);
}

}  // namespace ortho::cpu
