// method="exact": the polar factor U V^T to the accuracy of an SVD, with a sharp rank.
//
//   G = X X^T on the small side in float64,   O = G^(-1/2) X
//
// by scaled Newton (gram_domain.h). The route follows the matrix's own condition number, which the
// first inverse bounds from above: a definite G is enough where no singular value comes near the
// rank threshold; otherwise the projector onto the range goes first. Squaring loses what lies below
// 1e-8 sigma_1, so a threshold down there is decided by Jacobi rotations instead (jacobi.h).
#include <cmath>
#include <limits>

#include "cpu/complete.h"
#include "cpu/gram_domain.h"
#include "cpu/jacobi.h"
#include "cpu/polar.h"

namespace ortho::cpu {
namespace {

// Below this, sigma / sigma_1 cannot be told from rounding in a float64 Gram matrix.
constexpr double kSmallestGramRtol = 2e-7;
// Where a threshold lies below that, the Gram route serves up to here: its error, eps * condition^2
// before refinement, must be small enough for Newton-Schulz to remove.
constexpr double kLargestGramCondition = 1e6;
// The bounds on the condition number are loose; a threshold this close may be crossed.
constexpr double kRankMargin = 0.05;

double RankTolerance(const ortho_polar_options& options, Dtype dtype) {
  if (options.rtol >= 0) return options.rtol;
  return 4 * (dtype == Dtype::kFloat64
                  ? std::numeric_limits<double>::epsilon()
                  : static_cast<double>(std::numeric_limits<float>::epsilon()));
}

StoredMatrix RowMajor(double* data, int64_t small, int64_t large) {
  return {reinterpret_cast<char*>(data), Dtype::kFloat64, small, large, true, large};
}

// X = sigma v^T: one row needs no more than its length.
void NormalizeRow(const Kernels<double>& kernels, const StoredMatrix& x, double scale,
                  const StoredMatrix& out) {
  constexpr int64_t kChunk = 256;
  double chunk[kChunk];
  const auto load = kernels.load[static_cast<int>(x.dtype)];
  const auto store = kernels.store[static_cast<int>(out.dtype)];
  const int64_t step = x.large_is_contiguous ? 1 : x.stride;
  const int64_t out_step = out.large_is_contiguous ? 1 : out.stride;
  const int64_t item = ItemSize(x.dtype);
  double sum = 0;
  for (int64_t l = 0; l < x.large; l += kChunk) {
    const int64_t here = std::min(kChunk, x.large - l);
    load(here, 1, x.data + l * step * item, step, scale, chunk, 1);
    sum += kernels.dot(here, chunk, chunk);
  }
  const double inverse = 1 / std::sqrt(sum);
  for (int64_t l = 0; l < x.large; l += kChunk) {
    const int64_t here = std::min(kChunk, x.large - l);
    load(here, 1, x.data + l * step * item, step, scale, chunk, 1);
    kernels.combine(here, inverse, chunk, 0.0, nullptr, chunk);
    store(here, 1, chunk, 1, out.data + l * out_step * item, out_step);
  }
}

// O <- (3 I - O O^T) O / 2, `steps` times. It squares what is wrong with the singular values, the
// part of the Gram route's error that grows with condition^2; the rest grows with the condition
// only.
void Refine(const Kernels<double>& kernels, int steps, const Panels<double>& p,
            const StoredMatrix& o, Scratch& scratch) {
  for (int step = 0; step < steps; ++step) {
    Gram(kernels, o, 1.0, p, scratch);
    if (!scratch.measuring()) Combine(kernels, -0.5, p, 0, p, 1.5, p);
    Apply(kernels, p, 1.0, o, 1.0, 0.0, o, scratch);
  }
}

// Returns false if the matrix must go to Jacobi.
bool GramRoute(const Kernels<double>& kernels, const StoredMatrix& x, double scale, double rtol,
               const StoredMatrix& out, Scratch& scratch) {
  const bool measuring = scratch.measuring(), is_double = x.dtype == Dtype::kFloat64;
  const int64_t side = PaddedSide(kernels, x.small);
  GramWorkspace<double> ws(kernels, side, scratch);
  double *u = scratch.Take<double>(side), *v = scratch.Take<double>(side);
  Gram(kernels, x, scale, ws.g, scratch);
  double factor = 1;
  int refinements = is_double ? 2 : 0;
  if (!measuring) {
    SpectrumBounds bounds{0, FrobeniusNorm(kernels, ws.g)};
    const double largest = LargestEigenvalue(kernels, ws.g, u, v);
    AddToDiagonal(ws.g, x.small, side, bounds.high);  // the padding: inside the spectrum
    // What refinement will square needs only half the digits.
    const double tolerance = is_double ? 1e-8 : x.dtype == Dtype::kFloat32 ? 2e-7 : 1e-5;
    const bool definite = InvertAndBound(kernels, ws, &bounds);
    const double condition = definite ? bounds.condition() : INFINITY;
    bool has_p = false;
    if (rtol < kSmallestGramRtol) {
      if (condition > kLargestGramCondition) return false;
    } else if (condition * rtol > kRankMargin) {
      if (!ProjectOntoRange(kernels, ws, rtol * rtol * largest, bounds.high, &bounds)) return false;
      has_p = true;
    }
    if (!has_p && condition < 1e3) refinements = std::min(refinements, 1);
    factor = InverseRoot(kernels, ws, bounds, tolerance, has_p);
    if (!std::isfinite(factor)) return false;
  }
  Apply(kernels, ws.p, factor, x, scale, 0.0, out, scratch);
  Refine(kernels, refinements, ws.g, out, scratch);
  return true;
}

void JacobiRoute(const KernelTable& table, const StoredMatrix& x, double scale, double rtol,
                 const StoredMatrix& out, Scratch& scratch) {
  const Kernels<double>& kernels = table.f64;
  const int64_t m = x.small, n = x.large, side = PaddedSide(kernels, m);
  double* y = scratch.Take<double>(m * n);
  double* rotations = scratch.Take<double>(m * m);
  const Panels<double> left = Panels<double>::Take(kernels, side, side, scratch);
  double* staging = scratch.Take<double>(StagingElements(kernels, side));
  if (!scratch.measuring()) {
    CopyRows(table, x, scale, RowMajor(y, m, n));
    OrthogonalizeRows(kernels, m, n, y, rotations, rtol / 4);
    double largest = 0;
    for (int64_t i = 0; i < m; ++i)
      largest = std::max(largest, std::sqrt(kernels.dot(n, y + i * n, y + i * n)));
    for (int64_t i = 0; i < m; ++i) {
      const double sigma = std::sqrt(kernels.dot(n, y + i * n, y + i * n));
      const double inverse = sigma > rtol * largest ? 1 / sigma : 0;
      kernels.combine(n, inverse, y + i * n, 0.0, nullptr, y + i * n);
    }
    Pack(kernels, reinterpret_cast<const char*>(rotations), Dtype::kFloat64, m, false, 0, m, 0, m,
         1.0, left, staging);
  }
  // J X = diag(sigma) V^T, so U V^T = J^T V^T over the kept rows.
  Apply(kernels, left, 1.0, RowMajor(y, m, n), 1.0, 0.0, out, scratch);
}

}  // namespace

void ExactPolar(const KernelTable& table, const ortho_polar_options& options, const StoredMatrix& x,
                double scale, const StoredMatrix& out, Scratch& scratch) {
  const Kernels<double>& kernels = table.f64;
  const double rtol = RankTolerance(options, x.dtype);
  const bool complete = options.rank == ORTHO_RANK_COMPLETE;
  const bool nothing_kept = scale == 0 || rtol >= 1;
  if (x.small == 1 && !nothing_kept) {
    if (!scratch.measuring()) NormalizeRow(kernels, x, scale, out);
    return;
  }
  // Completion works on a float64 copy, so that half types lose nothing before they are stored.
  double* copy = complete ? scratch.Take<double>(x.small * x.large) : nullptr;
  const StoredMatrix target = complete ? RowMajor(copy, x.small, x.large) : out;
  const size_t mark = scratch.used();
  if (!nothing_kept || scratch.measuring()) {
    const bool done = GramRoute(kernels, x, scale, rtol, target, scratch);
    scratch.Release(mark);
    if (!done || (scratch.measuring() && rtol < kSmallestGramRtol))
      JacobiRoute(table, x, scale, rtol, target, scratch);
    scratch.Release(mark);
  }
  if (complete) {
    double* spare = scratch.Take<double>(CompleteScratch(x.small, x.large));
    if (scratch.measuring()) return;
    if (nothing_kept) std::fill(copy, copy + x.small * x.large, 0.0);
    CompleteRank(kernels, x.small, x.large, copy, spare);
    CopyRows(table, target, 1, out);
  }
}

}  // namespace ortho::cpu
