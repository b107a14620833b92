#include "cpu/polar.h"

#include <cmath>
#include <limits>

#include "cpu/schedule.h"

namespace ortho::cpu {
namespace {

// The power of two that brings `largest` into [1, 2), or as near as a normal number of the type
// that products run in can: subnormal inputs stay a little smaller, and lose nothing.
double PowerOfTwoScale(double largest, Dtype dtype) {
  return std::ldexp(1.0, std::min(-std::ilogb(largest), dtype == Dtype::kFloat64 ? 1000 : 126));
}

using Method = void (*)(const KernelTable&, const ortho_polar_options&, const StoredMatrix&, double,
                        const StoredMatrix&, Scratch&);
Method MethodOf(const ortho_polar_options& options) {
  switch (options.method) {
    case ORTHO_POLAR_NEWTON:
      return NewtonPolar;
    case ORTHO_POLAR_POLYNOMIAL:
      return PolynomialPolar;
    default:
      return ExactPolar;
  }
}

}  // namespace

double PolarCost(const Matrix& x) {
  const double a = static_cast<double>(x.rows.size), b = static_cast<double>(x.columns.size);
  const double small = std::min(a, b), large = std::max(a, b);
  return small * small * (3 * large + 10 * small);
}

void PolarMatrix(const KernelTable& table, const ortho_polar_options& options,
                 const PolarPair& pair, Scratch& scratch) {
  StoredMatrix x, out;
  const bool gather = !AsStored(pair.x, &x), scatter = !AsStored(pair.out, &out);
  // One copy serves both ends, for a method may work in place.
  char* copy = gather || scatter ? scratch.Take<char>(Bytes(pair.x)) : nullptr;
  if (gather) x = Contiguous(copy, pair.x);
  if (scatter) out = Contiguous(copy, pair.x);
  const auto run = [&](double scale) { MethodOf(options)(table, options, x, scale, out, scratch); };
  if (scratch.measuring()) return run(1);

  if (gather) Gather(pair.x, x);
  const double largest = MaxAbs(table, x);
  if (!std::isfinite(largest))
    Fill(table, out, std::numeric_limits<double>::quiet_NaN());
  else if (largest > 0)
    run(PowerOfTwoScale(largest, x.dtype));
  else if (options.method == ORTHO_POLAR_EXACT && options.rank == ORTHO_RANK_COMPLETE)
    run(0);
  else
    Fill(table, out, 0);
  if (scatter) Scatter(out, pair.out);
}

namespace {

// `outputs_known`: pair.out is where the result goes; otherwise room is made for one of any layout.
size_t ScratchPerThread(const KernelTable& table, const ortho_polar_options& options,
                        const std::vector<PolarPair>& pairs, bool outputs_known) {
  size_t most = 0;
  int64_t rows = -1, columns = -1;
  for (const PolarPair& pair : pairs) {
    // Stacks repeat a shape and a layout: measure it once.
    StoredMatrix ignored;
    const bool simple = AsStored(pair.x, &ignored) && AsStored(pair.out, &ignored);
    if (simple && pair.x.rows.size == rows && pair.x.columns.size == columns) continue;
    if (simple) rows = pair.x.rows.size, columns = pair.x.columns.size;
    Scratch measure;
    if (simple && !outputs_known) measure.Take<char>(Bytes(pair.x));
    PolarMatrix(table, options, pair, measure);
    most = std::max(most, measure.peak());
  }
  return RoundUp(static_cast<int64_t>(most), Scratch::kAlignment);
}

CostOf CostIn(const std::vector<PolarPair>& pairs) {
  return [&pairs](size_t i) { return PolarCost(pairs[i].x); };
}

}  // namespace

size_t PolarWorkspace(const KernelTable& table, const ortho_polar_options& options,
                      const std::vector<PolarPair>& pairs) {
  return ScheduleWorkspace(pairs.size(), CostIn(pairs),
                           ScratchPerThread(table, options, pairs, false));
}

bool PolarAll(const KernelTable& table, const ortho_polar_options& options,
              const std::vector<PolarPair>& pairs, void* workspace, size_t workspace_bytes) {
  return Schedule(pairs.size(), CostIn(pairs), ScratchPerThread(table, options, pairs, true),
                  workspace, workspace_bytes, [&](size_t i, Scratch& scratch) {
                    PolarMatrix(table, options, pairs[i], scratch);
                  });
}

}  // namespace ortho::cpu
