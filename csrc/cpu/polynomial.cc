// methods "polar_express" and "newton_schulz": X <- a X + (b A + c A^2) X with A = X X^T on the
// small side, from X / ||X||_F, in float32 or with every operand rounded to a half type.
#include <cmath>

#include "cpu/multiply.h"
#include "cpu/polar.h"

namespace ortho::cpu {
namespace {

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

}  // namespace

void PolynomialPolar(const KernelTable& table, const ortho_polar_options& options,
                     const StoredMatrix& x, double scale, const StoredMatrix& out,
                     Scratch& scratch) {
  const Kernels<float>& kernels = table.f32;
  const bool measuring = scratch.measuring();
  const int64_t m = x.small, n = x.large, side = PaddedSide(kernels, m);
  const bool half = options.precision != ORTHO_PRECISION_FLOAT32;
  const auto round = table.round[options.precision == ORTHO_PRECISION_BFLOAT16];

  float* copy = scratch.Take<float>(m * n);
  const Panels<float> a = Panels<float>::Take(kernels, side, side, scratch);
  const Panels<float> z = Panels<float>::Take(kernels, side, side, scratch);
  // In a half precision the iterate is stored in that type, which rounds it.
  const Dtype iterate = PrecisionDtype(options.precision);
  char* stored =
      half ? scratch.Take<char>(m * n * ItemSize(iterate)) : reinterpret_cast<char*>(copy);
  const StoredMatrix work = {stored, iterate, m, n, true, n};
  if (!measuring) {
    const StoredMatrix whole = {reinterpret_cast<char*>(copy), Dtype::kFloat32, m, n, true, n};
    CopyRows(table, x, scale, whole);
    const double norm = std::sqrt(kernels.dot(m * n, copy, copy));
    kernels.combine(m * n, static_cast<float>(1 / norm), copy, 0.0f, nullptr, copy);
    if (half) CopyRows(table, whole, 1, work);
  }
  for (int64_t step = 0; step < (measuring ? 1 : options.steps); ++step) {
    float alpha = 0, beta = 0, gamma = 0;
    if (!measuring) {
      alpha = static_cast<float>(options.coefficients[3 * step]);
      beta = static_cast<float>(options.coefficients[3 * step + 1]);
      gamma = static_cast<float>(options.coefficients[3 * step + 2]);
    }
    Gram(kernels, work, 1.0f, a, scratch);
    if (!measuring) {
      if (half) round(a.elements(), a.data);
      MultiplySymmetric(kernels, a, a, gamma, a, beta, z);
      if (half)
        round(z.elements(), z.data);
      else
        AddToDiagonal(z, 0, m, alpha);
    }
    // In float32 the term a X rides in Z = a I + b A + c A^2; rounded to a half type it would lose
    // it.
    const bool last = step + 1 == options.steps;
    Apply(kernels, z, 1.0f, work, 1.0f, half ? alpha : 0.0f, last && !half ? out : work, scratch);
  }
  if (half && !measuring) CopyRows(table, work, 1, out);
}

}  // namespace ortho::cpu
