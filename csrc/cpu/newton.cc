// method="newton": the exact route's iteration in float32 alone, with a ridge in place of a rank
// decision:
//   O = (G + ridge I)^(-1/2) X,   ridge = 3e-7 ||G||.
// A singular value sigma becomes sigma / sqrt(sigma^2 + 3e-7 sigma_1^2): exact to 2e-3 down to
// 1e-2 sigma_1, half at 3e-4 sigma_1, and zero at zero.
#include "cpu/inverse_root.h"
#include "cpu/polar.h"

namespace ortho::cpu {
namespace {

constexpr double kRidge = 3e-7;      // well above the rounding of a float32 Gram matrix
constexpr double kTolerance = 1e-5;  // of the iteration; what float32 leaves of it on a good matrix

}  // namespace

void NewtonPolar(const KernelTable& table, const ortho_polar_options&, const StoredMatrix& x,
                 double scale, const StoredMatrix& out, Scratch& scratch) {
  const Kernels<float>& kernels = table.f32;
  const bool measuring = scratch.measuring();
  const int64_t side = PaddedSide(kernels, x.small);
  // float64 may not fit float32's range before it is scaled.
  const bool copied = x.dtype == Dtype::kFloat64;
  float* copy = copied ? scratch.Take<float>(x.small * x.large) : nullptr;
  const StoredMatrix narrow = RowMajor(copy, Dtype::kFloat32, x.small, x.large);
  if (copied && !measuring) CopyRows(table, x, scale, narrow);
  const StoredMatrix& source = copied ? narrow : x;
  const float source_scale = copied ? 1.0f : static_cast<float>(scale);

  GramWorkspace<float> ws(kernels, side, scratch);
  Gram(kernels, source, source_scale, ws.g, scratch);
  double factor = 1;
  if (!measuring) {
    SpectrumBounds bounds{0, FrobeniusNorm(kernels, ws.g)};
    double ridge = kRidge * LargestEigenvalue(kernels, ws.g, x.small, ws.vectors);
    AddToDiagonal(ws.g, x.small, side, static_cast<float>(bounds.high));
    AddToDiagonal(ws.g, 0, x.small, static_cast<float>(ridge));
    // Rounding can outweigh the ridge only for sums far longer than it was chosen for.
    while (!Invert(kernels, ws, 0) || !((bounds.low = LowerBound(kernels, ws, bounds.high)) > 0)) {
      AddToDiagonal(ws.g, 0, x.small, static_cast<float>(9 * ridge));
      ridge *= 10;
    }
    InverseRoot(kernels, ws, &bounds, true, kTolerance, 0, &factor);
  }
  Apply(kernels, ws.p, static_cast<float>(factor), source, source_scale, 0.0f, out, scratch);
}

}  // namespace ortho::cpu
