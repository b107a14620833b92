// methods "polar_express" and "newton_schulz": X <- a X + (b A + c A^2) X with A = X X^T on the
// small side, from X / ||X||_F, in float32 (polynomial_half.cc has the half types).
//
// The ordinary form does just that. The Gram form keeps a few steps in the m x m domain,
//   Z = a I + b A + c A^2,   Q <- Q Z,   A <- Z A Z,   and X <- Q X at the end,
// which costs less the longer the rows are. What rounding does to A there is not undone until A is
// formed anew from X, so it restarts before it matters.
#include "cpu/polynomial.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "cpu/multiply.h"

namespace ortho::cpu {
namespace {

// Both forms take five steps at the same cost where large = 1.3 small (in products of m x m with
// symmetric results: 14 + 6 r against 5 + 15 r, r = large / small, and 14 + 6 r counts no
// conversions).
bool GramFormPays(const StoredMatrix& x) { return 4 * x.large >= 5 * x.small; }

// The step before which A is formed anew. Two at a time, for a step can take a singular value far
// down, and what rounding did to A is magnified on its way up again: three at a time can be a
// hundred times less exact. The last steps no longer move much and go together: four of a long
// table, two or three of a short one.
int64_t NextRestart(int64_t begin, int64_t steps) {
  const int64_t together = steps >= 8 ? 4 : 2 + steps % 2;
  const int64_t last = std::max<int64_t>(2, steps - together);
  return begin >= last ? steps : std::min({steps, last, begin + 2});
}

// Of float32 rows.
double FrobeniusNorm(const Kernels<float>& kernels, const StoredMatrix& rows) {
  double sum = 0;
  for (int64_t r = 0; r < rows.small; ++r) {
    const float* row = reinterpret_cast<const float*>(rows.data) + r * rows.stride;
    sum += kernels.dot(rows.large, row, row);
  }
  return std::sqrt(sum);
}

void GramForm(const KernelTable& table, const ortho_polar_options& options, const StoredMatrix& x,
              double scale, const StoredMatrix& out, Scratch& scratch) {
  const Kernels<float>& kernels = table.f32;
  const bool measuring = scratch.measuring();
  const int64_t m = x.small, side = PaddedSide(kernels, m), steps = options.steps;
  const StoredMatrix work = RowMajor(scratch.Take<float>(m * x.large), Dtype::kFloat32, m, x.large);
  Panels<float> a = Panels<float>::Take(kernels, side, side, scratch);
  Panels<float> z = Panels<float>::Take(kernels, side, side, scratch);
  Panels<float> q = Panels<float>::Take(kernels, side, side, scratch);
  Panels<float> spare = Panels<float>::Take(kernels, side, side, scratch);
  if (measuring) {
    Gram(kernels, work, 1.0f, a, scratch);
    Apply(kernels, q, 1.0f, work, 1.0f, 0.0f, out, scratch);
    return;
  }
  // Rows of float32 are read where they lie, unless the scale is subnormal: a thread may flush
  // that.
  const bool direct = x.dtype == Dtype::kFloat32 && x.large_is_contiguous && scale >= 0x1p-126;
  if (!direct) CopyRows(table, x, scale, work);
  StoredMatrix source = direct ? x : work;
  float source_scale = direct ? static_cast<float>(scale) : 1.0f;
  double factor = 1 / (source_scale * FrobeniusNorm(kernels, source));
  for (int64_t begin = 0, end; begin < steps; begin = end) {
    Gram(kernels, source, source_scale, a, scratch);
    if (begin == 0)
      kernels.combine(a.elements(), static_cast<float>(factor * factor), a.data, 0.0f, nullptr,
                      a.data);
    end = NextRestart(begin, steps);
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
    Apply(kernels, q, static_cast<float>(factor), source, source_scale, 0.0f,
          end == steps ? out : work, scratch);
    source = work, source_scale = 1, factor = 1;
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
  const double norm = FrobeniusNorm(table.f32, rows);
  float* data = reinterpret_cast<float*>(rows.data);
  table.f32.combine(rows.small * rows.large, static_cast<float>(1 / norm), data, 0.0f, nullptr,
                    data);
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
