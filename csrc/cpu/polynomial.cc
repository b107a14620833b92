// methods "polar_express" and "newton_schulz": X <- a X + (b A + c A^2) X with A = X X^T on the
// small side, from X / ||X||_F, in float32 or with every operand rounded to a half type.
//
// The ordinary form does just that. The Gram form keeps a few steps in the m x m domain,
//   Z = a I + b A + c A^2,   Q <- Q Z,   A <- Z A Z,   and X <- Q X at the end,
// which costs less the longer the rows are. What rounding does to A there is not undone until A is
// formed anew from X, so it restarts: after two steps, while the condition number is at its worst,
// then after every three.
#include <cmath>
#include <utility>

#include "cpu/inverse_root.h"
#include "cpu/polar.h"

namespace ortho::cpu {
namespace {

constexpr int64_t kFirstRestart = 2, kNextRestarts = 3;

Dtype PrecisionDtype(int32_t precision) {
  switch (precision) {
    case ORTHO_PRECISION_FLOAT16:
      return Dtype::kFloat16;
    case ORTHO_PRECISION_BFLOAT16:
      return Dtype::kBfloat16;
    default:
      return Dtype::kFloat32;
  }
}

// Both forms take five steps at the same cost where large = 1.3 small (in products of m x m with
// symmetric results: 14 + 6 r against 5 + 15 r, r = large / small, and 14 + 6 r counts no
// conversions).
bool GramFormPays(const StoredMatrix& x) { return 4 * x.large >= 5 * x.small; }

struct Step {
  float a, b, c;
  explicit Step(const double* triple)
      : a(static_cast<float>(triple[0])),
        b(static_cast<float>(triple[1])),
        c(static_cast<float>(triple[2])) {}
};

// x / ||x||_F as float32 rows.
void Normalize(const KernelTable& table, const StoredMatrix& x, double scale,
               const StoredMatrix& rows) {
  CopyRows(table, x, scale, rows);
  float* data = reinterpret_cast<float*>(rows.data);
  const int64_t n = rows.small * rows.large;
  const double norm = std::sqrt(table.f32.dot(n, data, data));
  table.f32.combine(n, static_cast<float>(1 / norm), data, 0.0f, nullptr, data);
}

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
      const Step step(options.coefficients + 3 * s);
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
  const bool half = options.precision != ORTHO_PRECISION_FLOAT32;
  const auto round = table.round[options.precision == ORTHO_PRECISION_BFLOAT16];

  const StoredMatrix whole = RowMajor(scratch.Take<float>(m * n), Dtype::kFloat32, m, n);
  const Panels<float> a = Panels<float>::Take(kernels, side, side, scratch);
  const Panels<float> z = Panels<float>::Take(kernels, side, side, scratch);
  // In a half precision the iterate is stored in that type, which rounds it.
  const Dtype iterate = PrecisionDtype(options.precision);
  const StoredMatrix work =
      half ? RowMajor(scratch.Take<char>(m * n * ItemSize(iterate)), iterate, m, n) : whole;
  if (!measuring) {
    Normalize(table, x, scale, whole);
    if (half) CopyRows(table, whole, 1, work);
  }
  for (int64_t s = 0; s < (measuring ? 1 : options.steps); ++s) {
    constexpr double kNothing[3] = {};
    const Step step(measuring ? kNothing : options.coefficients + 3 * s);
    Gram(kernels, work, 1.0f, a, scratch);
    if (!measuring) {
      if (half) round(a.elements(), a.data);
      MultiplySymmetric(kernels, a, a, step.c, a, step.b, z);
      if (half)
        round(z.elements(), z.data);
      else
        AddToDiagonal(z, 0, m, step.a);
    }
    // In float32 the term a X rides in Z = a I + b A + c A^2; rounded to a half type it would lose
    // it.
    const bool last = s + 1 == options.steps;
    Apply(kernels, z, 1.0f, work, 1.0f, half ? step.a : 0.0f, last && !half ? out : work, scratch);
  }
  if (half && !measuring) CopyRows(table, work, 1, out);
}

}  // namespace

void PolynomialPolar(const KernelTable& table, const ortho_polar_options& options,
                     const StoredMatrix& x, double scale, const StoredMatrix& out,
                     Scratch& scratch) {
  const bool gram = options.precision == ORTHO_PRECISION_FLOAT32 && GramFormPays(x);
  (gram ? GramForm : OrdinaryForm)(table, options, x, scale, out, scratch);
}

}  // namespace ortho::cpu
