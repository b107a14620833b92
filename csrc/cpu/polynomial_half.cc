// Polynomials with the operands of every product, and X between the steps, in a half type; sums in
// float32. The term a X keeps its own place in X <- a X + (b A + c A^2) X: in
// Z = a I + b A + c A^2 rounding to a half type would lose what is beside a.
#include <algorithm>

#include "cpu/multiply_pairs.h"
#include "cpu/polynomial.h"

namespace ortho::cpu {
namespace {

// x / ||x||_F, rounded to what rows hold. The float32 rows on the way are given back.
void NormalizeInto(const KernelTable& table, const StoredMatrix& x, double scale,
                   const StoredMatrix& rows, Scratch& scratch) {
  const size_t mark = scratch.used();
  const StoredMatrix whole =
      RowMajor(scratch.Take<float>(x.small * x.large), Dtype::kFloat32, x.small, x.large);
  if (!scratch.measuring()) {
    Normalize(table, x, scale, whole);
    CopyRows(table, whole, 1, rows);
  }
  scratch.Release(mark);
}

// bfloat16 on instructions that multiply it.
void PairForm(const KernelTable& table, const ortho_polar_options& options, const StoredMatrix& x,
              double scale, const StoredMatrix& out, Scratch& scratch) {
  const bool measuring = scratch.measuring();
  const int64_t m = x.small, n = x.large, side = PaddedSide(table.f32, m);
  const PaddedBfloats work = PaddedBfloats::Take(table, m, n, scratch);
  StoredMatrix rows = RowMajor(work.data, Dtype::kBfloat16, m, n);
  rows.stride = work.columns;
  if (!measuring) std::fill_n(work.data, work.rows * work.columns, uint16_t{0});
  NormalizeInto(table, x, scale, rows, scratch);

  const Panels<float> a = Panels<float>::Take(table.f32, side, side, scratch);
  const Panels<float> z = Panels<float>::Take(table.f32, side, side, scratch);
  const PairPanels pairs = TakePairs(table.pairs, side / 2, side, scratch);
  if (measuring) {
    Gram(table, work, a, scratch);
    Apply(table, pairs, 0, work, scratch);
    return;
  }
  for (int64_t s = 0; s < options.steps; ++s) {
    const PolynomialStep step(options, s);
    Gram(table, work, a, scratch);
    RoundToPairs(table.pairs, a, pairs);
    table.round[1](a.elements(), a.data);
    Multiply(table.pairs, pairs, pairs, step.c, &a, step.b, z, Shape::kUpper);
    table.f32.mirror(side, z.data);
    RoundToPairs(table.pairs, z, pairs);
    Apply(table, pairs, step.a, work, scratch);
  }
  CopyRows(table, rows, 1, out);
}

// Either type on float32 instructions, from numbers that are already rounded.
void RoundedForm(const KernelTable& table, const ortho_polar_options& options,
                 const StoredMatrix& x, double scale, const StoredMatrix& out, Scratch& scratch) {
  const Kernels<float>& kernels = table.f32;
  const bool measuring = scratch.measuring();
  const int64_t m = x.small, n = x.large, side = PaddedSide(kernels, m);
  const bool bfloat = options.precision == ORTHO_PRECISION_BFLOAT16;
  const Dtype iterate = bfloat ? Dtype::kBfloat16 : Dtype::kFloat16;
  const auto round = table.round[bfloat];
  const StoredMatrix work = RowMajor(scratch.Take<char>(m * n * ItemSize(iterate)), iterate, m, n);
  NormalizeInto(table, x, scale, work, scratch);

  const Panels<float> a = Panels<float>::Take(kernels, side, side, scratch);
  const Panels<float> z = Panels<float>::Take(kernels, side, side, scratch);
  if (measuring) {
    Gram(kernels, work, 1.0f, a, scratch);
    Apply(kernels, z, 1.0f, work, 1.0f, 1.0f, work, scratch);
    return;
  }
  for (int64_t s = 0; s < options.steps; ++s) {
    const PolynomialStep step(options, s);
    Gram(kernels, work, 1.0f, a, scratch);
    round(a.elements(), a.data);
    MultiplySymmetric(kernels, a, a, step.c, a, step.b, z);
    round(z.elements(), z.data);
    Apply(kernels, z, 1.0f, work, 1.0f, step.a, work, scratch);
  }
  CopyRows(table, work, 1, out);
}

}  // namespace

void HalfPrecisionPolynomial(const KernelTable& table, const ortho_polar_options& options,
                             const StoredMatrix& x, double scale, const StoredMatrix& out,
                             Scratch& scratch) {
  const bool pairs =
      options.precision == ORTHO_PRECISION_BFLOAT16 && table.pairs.product != nullptr;
  (pairs ? PairForm : RoundedForm)(table, options, x, scale, out, scratch);
}

}  // namespace ortho::cpu
