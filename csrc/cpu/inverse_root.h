// G^(-1/2) of a symmetric positive definite G by scaled Newton that never leaves the m x m domain.
// Every iterate is a function of G, so all factors commute and every product is symmetric.
#pragma once

#include <utility>

#include "cpu/cholesky.h"
#include "cpu/series.h"
#include "cpu/spectrum.h"

namespace ortho::cpu {

template <typename T>
struct GramWorkspace {
  Panels<T> g, p, factor, m, w, s;
  T* vectors;          // EigenvalueScratch
  bool has_p = false;  // p is the identity until the first factor arrives

  GramWorkspace(const Kernels<T>& kernels, int64_t side, Scratch& scratch) {
    for (Panels<T>* each : {&g, &p, &factor, &m, &w, &s})
      *each = Panels<T>::Take(kernels, side, side, scratch);
    vectors = scratch.Take<T>(EigenvalueScratch(g));
  }
};

// c = alpha a + beta b + identity I
template <typename T>
void Combine(const Kernels<T>& kernels, double alpha, const Panels<T>& a, double beta,
             const Panels<T>& b, double identity, const Panels<T>& c) {
  kernels.combine(c.elements(), static_cast<T>(alpha), a.data, static_cast<T>(beta),
                  beta != 0 ? b.data : nullptr, c.data);
  AddToDiagonal(c, 0, c.rows, static_cast<T>(identity));
}

// ws.w = (G + shift I)^-1; false if that is not positive definite to working precision.
template <typename T>
bool Invert(const Kernels<T>& kernels, GramWorkspace<T>& ws, double shift) {
  if (!Factor(kernels, ws.g, static_cast<T>(shift), ws.factor, ws.m)) return false;
  InverseFromFactor(kernels, ws.m, ws.w);
  return true;
}

// The lower end of the spectrum of G from ws.w = G^-1; NaN or 0 if the inverse overflowed.
template <typename T>
double LowerBound(const Kernels<T>& kernels, GramWorkspace<T>& ws, double high) {
  return std::min(1 / FrobeniusNorm(kernels, ws.w), high);
}

// p <- p s
template <typename T>
void MultiplyRoot(const Kernels<T>& kernels, GramWorkspace<T>& ws) {
  if (ws.has_p) {
    MultiplySymmetric(kernels, ws.p, ws.s, ws.m);
    std::swap(ws.p, ws.m);
  } else {
    std::swap(ws.p, ws.s);
    ws.has_p = true;
  }
}

// One step, with ws.w = G^-1 and mu^4 = 1 / (low high):
//   P <- P (mu I + W / mu) / 2,    G <- (mu^2 G + 2 I + W / mu^2) / 4
// takes the condition number k of X to (sqrt k + 1 / sqrt k) / 2, the spectrum of G to [1, k'^2].
template <typename T>
void NewtonStep(const Kernels<T>& kernels, GramWorkspace<T>& ws, SpectrumBounds* bounds) {
  const double mu2 = 1 / std::sqrt(bounds->low * bounds->high), mu = std::sqrt(mu2);
  Combine(kernels, 0.5 / mu, ws.w, 0, ws.w, 0.5 * mu, ws.s);
  Combine(kernels, 0.25 * mu2, ws.g, 0.25 / mu2, ws.w, 0.5, ws.g);
  MultiplyRoot(kernels, ws);
  const double root = std::sqrt(bounds->condition());
  *bounds = {1, std::pow((root + 1 / root) / 2, 2)};
}

// s = (G / middle)^(-1/2) by the series in e = I - G / middle; spoils g, factor and m.
template <typename T>
void EvaluateSeries(const Kernels<T>& kernels, GramWorkspace<T>& ws, double middle,
                    const Series& series) {
  const double* c = series.coefficients;
  const Panels<T>&e = ws.g, &square = ws.m, &cube = ws.factor, &inner = ws.w;
  Combine(kernels, -1 / middle, ws.g, 0, ws.g, 1, e);
  switch (series.degree) {
    case 1:
      Combine(kernels, c[1], e, 0, e, c[0], ws.s);
      return;
    case 2:
      MultiplySymmetric(kernels, e, e, static_cast<T>(c[2]), e, static_cast<T>(c[1]), ws.s);
      break;
    case 4:  // (c0 + c1 e) + e^2 (c2 + c3 e + c4 e^2)
      MultiplySymmetric(kernels, e, e, square);
      Combine(kernels, c[4], square, c[3], e, c[2], inner);
      MultiplySymmetric(kernels, square, inner, T(1), e, static_cast<T>(c[1]), ws.s);
      break;
    default:  // 6: (c0 + c1 e + c2 e^2) + e^3 (c3 + c4 e + c5 e^2 + c6 e^3)
      MultiplySymmetric(kernels, e, e, square);
      MultiplySymmetric(kernels, e, square, cube);
      Combine(kernels, c[6], cube, c[5], square, c[3], inner);
      Combine(kernels, 1, inner, c[4], e, 0, inner);
      Combine(kernels, c[2], square, c[1], e, 0, square);
      MultiplySymmetric(kernels, cube, inner, T(1), square, T(1), ws.s);
      break;
  }
  AddToDiagonal(ws.s, 0, ws.s.rows, static_cast<T>(c[0]));
}

enum class Root { kDone, kHandedOver, kFailed };

// p <- p G^(-1/2) / *factor, to `tolerance`. ws.w holds G^-1 on entry if `inverted`. Hands over,
// with *bounds telling what is left of G, once the condition number is below `hand_over`. Fails if
// an iterate could not be inverted, which does not befall a G that could.
template <typename T>
Root InverseRoot(const Kernels<T>& kernels, GramWorkspace<T>& ws, SpectrumBounds* bounds,
                 bool inverted, double tolerance, double hand_over, double* factor) {
  *factor = 1;
  constexpr int kMaxSteps = 16;  // ample: condition 1e16 takes 7
  for (int step = 0; step < kMaxSteps; ++step) {
    if (bounds->condition() < hand_over) return Root::kHandedOver;
    const double middle = (bounds->high + bounds->low) / 2;
    const Series series = InverseRootSeries(bounds->high / middle - 1, tolerance);
    if (series.degree > 0) {
      EvaluateSeries(kernels, ws, middle, series);
      MultiplyRoot(kernels, ws);
      *factor = 1 / std::sqrt(middle);
      return Root::kDone;
    }
    if ((step > 0 || !inverted) && !Invert(kernels, ws, 0)) break;
    NewtonStep(kernels, ws, bounds);
  }
  return Root::kFailed;
}

}  // namespace ortho::cpu
