// methods "polar_express" and "newton_schulz": X <- a X + (b A + c A^2) X with A = X X^T on the
// small side, from X / ||X||_F, in float32 (polynomial_half.cc has the half types).
//
// The ordinary form does just that. The Gram form keeps a few steps in the m x m domain,
//   Z = a I + b A + c A^2,   Q <- Q Z,   A <- Z A Z,   and X <- Q X at the end,
// which costs less the longer the rows are. What rounding does to A there is not undone until A is
// formed anew from X, so it restarts: after two steps, while the condition number is at its worst,
// then after every three.
#include "cpu/polynomial.h"

#include <cmath>
#include <utility>

#include "cpu/multiply.h"

namespace ortho::cpu {
namespace {

constexpr int64_t kFirstRestart = 2, kNextRestarts = 3;

// Both forms take five steps at the same cost where large = 1.3 small (in products of m x m with
// symmetric results: 14 + 6 r against 5 + 15 r, r = large / small, and 14 + 6 r counts no
// conversions).
bool GramFormPays(const StoredMatrix& x) { return 4 * x.large >= 5 * x.small; }

void GramForm(const KernelTable& table, const ortho_polar_options& options, const StoredMatrix& x,
              double scale, const StoredMatrix& out, Scratch& scratch) {
  const Kernels<float>& kernels = table.f32;
  const bool measuring = scratch.measuring();
  const int64_t side = PaddedSide(kernels, x.small);
  const StoredMatrix work =
      RowMajor(scratch.Take<float>(x.small * x.large), Dtype::kFloat32, x.small, x.large);
  Panels<float> a = Panels<float>::Take(kernels, side, side, scratch);
  Panels<float> z = Panels<float>::Take(kernels, side, side, scratch);
  Panels<float> q = Panels<float>::Take(kernels, side, side, scratch);
  Panels<float> spare = Panels<float>::Take(kernels, side, side, scratch);
  if (measuring) {
    Gram(kernels, work, 1.0f, a, scratch);
    Apply(kernels, q, 1.0f, work, 1.0f, 0.0f, out, scratch);
    return;
  }
  Normalize(table, x, scale, work);
  for (int64_t begin = 0, end; begin < options.steps; begin = end) {
    end = std::min(options.steps, begin + (begin == 0 ? kFirstRestart : kNextRestarts));
    Gram(kernels, work, 1.0f, a, scratch);
    for (int64_t s = begin; s < end; ++s) {
      const PolynomialStep step(options, s);
      MultiplySymmetric(kernels, a, a, step.c, a, step.b, z);
      AddToDiagonal(z, 0, side, step.a);
      if (s + 1 < end) {
        MultiplySymmetric(kernels, z, a, spare);
        MultiplySymmetric(kernels, spare, z, a);
      }
      if (s == begin) {
        std::swap(q, z);
      } else {
        MultiplySymmetric(kernels, q, z, spare);
        std::swap(q, spare);
      }
    }
    Apply(kernels, q, 1.0f, work, 1.0f, 0.0f, end == options.steps ? out : work, scratch);
  }
}

void OrdinaryForm(const KernelTable& table, const ortho_polar_options& options,
                  const StoredMatrix& x, double scale, const StoredMatrix& out, Scratch& scratch) {
  const Kernels<float>& kernels = table.f32;
  const bool measuring = scratch.measuring();
  const int64_t m = x.small, n = x.large, side = PaddedSide(kernels, m);
  const StoredMatrix work = RowMajor(scratch.Take<float>(m * n), Dtype::kFloat32, m, n);
  const Panels<float> a = Panels<float>::Take(kernels, side, side, scratch);
  const Panels<float> z = Panels<float>::Take(kernels, side, side, scratch);
  if (measuring) {
    Gram(kernels, work, 1.0f, a, scratch);
    Apply(kernels, z, 1.0f, work, 1.0f, 0.0f, out, scratch);
    return;
  }
  Normalize(table, x, scale, work);
  for (int64_t s = 0; s < options.steps; ++s) {
    const PolynomialStep step(options, s);
    Gram(kernels, work, 1.0f, a, scratch);
    MultiplySymmetric(kernels, a, a, step.c, a, step.b, z);
    AddToDiagonal(z, 0, m, step.a);
    Apply(kernels, z, 1.0f, work, 1.0f, 0.0f, s + 1 == options.steps ? out : work, scratch);
  }
}

}  // namespace

void Normalize(const KernelTable& table, const StoredMatrix& x, double scale,
               const StoredMatrix& rows) {
  CopyRows(table, x, scale, rows);
  float* data = reinterpret_cast<float*>(rows.data);
  const int64_t n = rows.small * rows.large;
  const double norm = std::sqrt(table.f32.dot(n, data, data));
  table.f32.combine(n, static_cast<float>(1 / norm), data, 0.0f, nullptr, data);
}

void PolynomialPolar(const KernelTable& table, const ortho_polar_options& options,
                     const StoredMatrix& x, double scale, const StoredMatrix& out,
                     Scratch& scratch) {
  const auto form = options.precision != ORTHO_PRECISION_FLOAT32 ? HalfPrecisionPolynomial
                    : GramFormPays(x)                            ? GramForm
                                                                 : OrdinaryForm;
  form(table, options, x, scale, out, scratch);
}

}  // namespace ortho::cpu
