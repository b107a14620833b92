#include "cpu/projected.h"

#include <cmath>

namespace ortho::cpu {
namespace {

// p = the projector onto the eigenvectors of ws.g above 1/2, however many lie below:
//   F <- 3 F^2 - 2 F^3   from F = G until it stands still,
// which an eigenvalue in [0, 0.2] or [0.8, 1] does after 5 steps. Leaves
//   G' = F G F + (I - F) 3/4
// in ws.g, whose eigenvalues lie in [1/2, 1].
void ProjectAboveHalf(const Kernels<double>& kernels, GramWorkspace<double>& ws) {
  std::memcpy(ws.p.data, ws.g.data, sizeof(double) * static_cast<size_t>(ws.g.elements()));
  // One on the threshold itself moves away from 1/2 by a factor 1.5 with each step, from rounding
  // if from nothing else.
  constexpr int kMaxSteps = 100;
  for (int step = 0; step < kMaxSteps; ++step) {
    const Panels<double>&square = ws.s, &difference = ws.m;
    MultiplySymmetric(kernels, ws.p, ws.p, square);
    Combine(kernels, 1, square, -1, ws.p, 0, difference);
    const double distance = FrobeniusNorm(kernels, difference);
    MultiplySymmetric(kernels, square, ws.p, -2.0, square, 3.0, ws.w);
    std::swap(ws.p, ws.w);
    if (distance < 1e-8) break;  // the step just taken squared it
  }
  ws.has_p = true;
  MultiplySymmetric(kernels, ws.p, ws.g, ws.s);
  MultiplySymmetric(kernels, ws.s, ws.p, ws.m);
  Combine(kernels, 1, ws.m, -0.75, ws.p, 0.75, ws.g);
}

}  // namespace

bool ProjectedRoute(const KernelTable& table, GramWorkspace<double>& ws, const StoredMatrix& x,
                    double scale, double threshold, const StoredMatrix& y, const StoredMatrix& out,
                    Scratch& scratch) {
  const Kernels<double>& kernels = table.f64;
  const bool measuring = scratch.measuring();
  double factor = 1;
  ws.has_p = false;
  if (!measuring) {
    Gram(kernels, x, scale, ws.g, scratch);
    SpectrumBounds bounds{threshold * threshold, FrobeniusNorm(kernels, ws.g)};
    AddToDiagonal(ws.g, 0, x.small, bounds.low);
    AddToDiagonal(ws.g, x.small, ws.g.rows, bounds.high);
    bounds.high += bounds.low;
    bounds.low *= 0.5;  // what rounding may take from it
    // Whatever function of G this is, Y has the singular vectors of X: few digits will do.
    if (InverseRoot(kernels, ws, &bounds, false, 1e-4, 0, &factor) != Root::kDone) return false;
  }
  Apply(kernels, ws.p, factor, x, scale, 0.0, y, scratch);
  Gram(kernels, y, 1.0, ws.g, scratch);
  if (!measuring) {
    AddToDiagonal(ws.g, x.small, ws.g.rows, 1.0);
    ProjectAboveHalf(kernels, ws);
    SpectrumBounds bounds{0.25, 1.5};  // [1/2, 1], with room for Y's few digits
    if (InverseRoot(kernels, ws, &bounds, false, 1e-8, 0, &factor) != Root::kDone) return false;
  }
  Apply(kernels, ws.p, factor, y, 1.0, 0.0, out, scratch);
  return true;
}

}  // namespace ortho::cpu
