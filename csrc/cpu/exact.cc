// method="exact": the polar factor U V^T to the accuracy of an SVD, with a sharp rank.
//
//   G = X X^T on the small side in float64,   O = G^(-1/2) X
//
// by scaled Newton (inverse_root.h). The route follows the matrix's own condition number, which the
// first inverse tells: a definite G is enough where no singular value comes near the rank
// threshold; otherwise the null space is found and removed first (range.h). What float64 is needed
// for is over once the condition number of the iterate is small: the rest runs in float32. Squaring
// loses what lies below 1e-8 sigma_1, so a threshold down there is decided by Jacobi rotations
// instead (jacobi.h), and so are many null directions in float64.
#include <cmath>
#include <limits>

#include "cpu/complete.h"
#include "cpu/float_tail.h"
#include "cpu/jacobi.h"
#include "cpu/polar.h"
#include "cpu/projected.h"
#include "cpu/range.h"

namespace ortho::cpu {
namespace {

// Below this, sigma / sigma_1 cannot be told from rounding in a float64 Gram matrix.
constexpr double kSmallestGramRtol = 2e-7;
// Where a threshold lies below that, the Gram route serves up to here: its error, eps * condition^2
// before refinement, must be small enough for Newton-Schulz to remove.
constexpr double kLargestGramCondition = 1e6;
// The bounds on the condition number are loose; a threshold this close may be crossed.
constexpr double kRankMargin = 0.05;
// Relative to sigma_1^2: above the rounding of G, below any threshold that the Gram route serves.
constexpr double kSmallestShift = 1e-14;
// Below this condition number (49 for G) float32 is enough for the rest: 49 * 6e-8 / 2 is 1.5e-6.
constexpr double kFloatCondition = 7;
// What the product with X may err by in float32; a fifth of what is promised.
constexpr double kFloatApplyError = 2e-6;
// On smaller sides converting costs what it saves.
constexpr int64_t kSmallestFloatTail = 16;

double RankTolerance(const ortho_polar_options& options, Dtype dtype) {
  if (options.rtol >= 0) return options.rtol;
  return 4 * (dtype == Dtype::kFloat64
                  ? std::numeric_limits<double>::epsilon()
                  : static_cast<double>(std::numeric_limits<float>::epsilon()));
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

// What the route decided, beside the workspace that holds the numbers.
struct Route {
  SpectrumBounds bounds;
  bool inverted = false;  // ws.w = ws.g^-1
  bool jacobi = false;
  bool few_null = false;          // found, and lifted out of ws.g
  bool many_null = false;         // to be projected out
  double threshold = 0;           // of sigma
  double condition = INFINITY;    // of X, infinite if G was not definite
  double float_error = INFINITY;  // FloatApplyError of what is kept
};

// Relative error, root mean square, that a product P X would have in float32, P = G^(-1/2): each of
// its m terms leaves 3e-8 of the sum so far, which grows like a random walk. ||P||_F and ||X||_F
// are known from ws.w = G^-1 and G.
double FloatApplyError(const GramWorkspace<double>& ws, int64_t small) {
  constexpr double kRounding = 0.29 * std::numeric_limits<float>::epsilon();
  double g = 0, w = 0;
  ForDiagonal(ws.g, 0, small, [&](double element) { g += element; });
  ForDiagonal(ws.w, 0, small, [&](double element) { w += element; });
  return kRounding * std::sqrt(g * w / (2.0 * static_cast<double>(small)));
}

// Looks at the spectrum and clears it of what lies below the rank threshold.
Route ClearSpectrum(const KernelTable& table, GramWorkspace<double>& ws, const StoredMatrix& x,
                    double scale, double rtol, NullDirections* null, Scratch& scratch) {
  const Kernels<double>& kernels = table.f64;
  const int64_t side = ws.g.rows;
  Route route;
  const double high = FrobeniusNorm(kernels, ws.g);
  AddToDiagonal(ws.g, x.small, side, high);  // the padding: inside the spectrum
  route.bounds.high = high;
  route.inverted = Invert(kernels, ws, 0);
  if (route.inverted) {
    route.bounds.low = LowerBound(kernels, ws, high);
    if (route.bounds.low > 0) {
      route.condition = route.bounds.condition();
      route.float_error = FloatApplyError(ws, x.small);
    }
  }
  if (rtol < kSmallestGramRtol) {
    route.jacobi = !(route.condition <= kLargestGramCondition);
    return route;
  }
  if (route.condition * rtol <= kRankMargin) return route;

  const double largest = LargestEigenvalue(kernels, ws.g, x.small, ws.vectors);
  route.threshold = rtol * std::sqrt(largest);
  // A shift that is lost in rounding makes a singular G definite.
  const bool enough_rows = x.small > kNullBlock;
  const double shift = route.inverted ? 0 : kSmallestShift * high;
  // Each null direction adds 1 / shift to the trace of the inverse, so that too many show at once.
  if (!enough_rows || !(route.inverted || Invert(kernels, ws, shift)) ||
      Trace(ws.w) * shift > kNullBlock - 0.5 ||
      !FindNullDirections(table, ws, x, scale, route.threshold, null, scratch)) {
    route.many_null = true;
    return route;
  }
  if (null->count == 0 && route.inverted) return route;  // badly conditioned, but all there
  route.few_null = true;
  LiftNullDirections(kernels, *null, largest, ws.g);
  route.inverted = Invert(kernels, ws, 0);
  if (route.inverted) {
    route.bounds.low = LowerBound(kernels, ws, high);
    route.float_error = FloatApplyError(ws, x.small);
  }
  // Bounds are loose by sqrt(side) at most: what is left below the threshold was missed.
  const double least = route.bounds.low * std::sqrt(static_cast<double>(side));
  route.many_null = !(route.inverted && least >= route.threshold * route.threshold);
  return route;
}

// Returns false if the matrix must go to Jacobi.
bool GramRoute(const KernelTable& table, const StoredMatrix& x, double scale, double rtol,
               const StoredMatrix& out, bool complete, Scratch& scratch) {
  const Kernels<double>& f64 = table.f64;
  const Kernels<float>& f32 = table.f32;
  const bool measuring = scratch.measuring(), is_double = x.dtype == Dtype::kFloat64;
  GramWorkspace<double> ws(f64, PaddedSide(f64, x.small), scratch);
  GramWorkspace<float> fs(f32, is_double ? 0 : PaddedSide(f32, x.small), scratch);
  NullDirections null(f64, ws.g.rows, x.large, scratch);
  const bool with_tail = !is_double && x.small >= kSmallestFloatTail;
  // What refinement will square needs only half the digits.
  const double tolerance = is_double ? 1e-8 : x.dtype == Dtype::kFloat32 ? 2e-7 : 1e-5;

  Gram(f64, x, scale, ws.g, scratch);
  double factor = 1;
  Route route;
  bool in_float = !is_double;  // the last product, with fs.p
  bool twice = false;          // ws.p first, and then fs.p: less than their product, near a square
  if (!measuring) {
    route = ClearSpectrum(table, ws, x, scale, rtol, &null, scratch);
    if (route.jacobi) return false;
  }
  // The stand-in's null space is off by eps / threshold, which float32 cannot see and float64
  // promises not to be.
  if (route.many_null && is_double) return false;
  if (route.many_null || (measuring && !is_double && rtol >= kSmallestGramRtol)) {
    const size_t mark = scratch.used();
    // Its singular values are of one size: float32 rounds them all alike.
    const StoredMatrix y =
        RowMajor(scratch.Take<float>(x.small * x.large), Dtype::kFloat32, x.small, x.large);
    if (!ProjectedRoute(table, ws, x, scale, route.threshold, y, out, scratch)) return false;
    Refine(f64, complete ? 2 : 0, ws.g, out, scratch);
    scratch.Release(mark);
    if (!measuring) return true;
  }
  if (!measuring) {
    const Root root = InverseRoot(f64, ws, &route.bounds, route.inverted, tolerance,
                                  with_tail ? kFloatCondition : 0, &factor);
    if (root == Root::kFailed) return false;
    if (route.few_null && ws.has_p) RemoveNullDirections(f64, null, ws.p, ws.vectors);
    in_float = false;
    if (root == Root::kHandedOver) {
      FloatTail(table, ws, fs, route.bounds, tolerance, &factor);
      in_float = !ws.has_p;
      twice = ws.has_p && x.dtype == Dtype::kFloat32 && 2 * x.large <= 3 * x.small;
      if (ws.has_p && !twice) MultiplyTail(table, ws, fs);
    }
    if (!std::isfinite(factor)) return false;
    if (!in_float && !twice && !is_double && route.float_error < kFloatApplyError) {
      in_float = true;
      Narrow(table, ws.p, factor, fs.p);
      factor = 1;
    }
  }
  if (!in_float || measuring) Apply(f64, ws.p, twice ? 1.0 : factor, x, scale, 0.0, out, scratch);
  if (in_float || twice)
    Apply(f32, fs.p, static_cast<float>(factor), twice ? out : x,
          twice ? 1.0f : static_cast<float>(scale), 0.0f, out, scratch);
  // Completion counts what is missing from O O^T, which must be a projector for that.
  const bool well_conditioned = route.condition < 1e3;
  Refine(f64, !is_double && !complete ? 0 : well_conditioned ? 1 : 2, ws.g, out, scratch);
  return true;
}

void JacobiRoute(const KernelTable& table, const StoredMatrix& x, double scale, double rtol,
                 const StoredMatrix& out, Scratch& scratch) {
  const Kernels<double>& kernels = table.f64;
  const int64_t m = x.small, n = x.large, side = PaddedSide(kernels, m);
  double* y = scratch.Take<double>(m * n);
  const StoredMatrix rows = RowMajor(y, Dtype::kFloat64, m, n);
  double* rotations = scratch.Take<double>(m * m);
  const Panels<double> left = Panels<double>::Take(kernels, side, side, scratch);
  if (!scratch.measuring()) {
    CopyRows(table, x, scale, rows);
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
         1.0, left);
  }
  // J X = diag(sigma) V^T, so U V^T = J^T V^T over the kept rows.
  Apply(kernels, left, 1.0, rows, 1.0, 0.0, out, scratch);
}

}  // namespace

void ExactPolar(const KernelTable& table, const ortho_polar_options& options, const StoredMatrix& x,
                double scale, const StoredMatrix& out, Scratch& scratch) {
  const Kernels<double>& kernels = table.f64;
  const double rtol = RankTolerance(options, x.dtype);
  const bool complete = options.rank == ORTHO_RANK_COMPLETE;
  const bool nothing_kept = scale == 0 || rtol >= 1;
  // `scale` and so nothing_kept are not known while measuring: room is made for either.
  if (!scratch.measuring() && nothing_kept && (!complete || x.small == 1)) {
    Fill(table, out, 0);
    constexpr double kOne = 1;
    if (complete) kernels.store[static_cast<int>(out.dtype)](1, 1, &kOne, 1, out.data, 1);
    return;
  }
  if (x.small == 1) {
    if (!scratch.measuring()) NormalizeRow(kernels, x, scale, out);
    return;
  }
  // Completion works on a float64 copy, so that half types lose nothing before they are stored.
  double* copy = complete ? scratch.Take<double>(x.small * x.large) : nullptr;
  const StoredMatrix target = complete ? RowMajor(copy, Dtype::kFloat64, x.small, x.large) : out;
  const size_t mark = scratch.used();
  if (!nothing_kept || scratch.measuring()) {
    const bool done = GramRoute(table, x, scale, rtol, target, complete, scratch);
    scratch.Release(mark);
    if (!done || scratch.measuring())  // room for it always: any route may end there
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
