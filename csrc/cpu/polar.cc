#include "cpu/polar.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "cpu/thread_pool.h"

namespace ortho::cpu {
namespace {

// Below this many multiplications a thread is not worth waking.
constexpr double kWorthAThread = 2e5;
// Below this, threads do not help inside one matrix.
constexpr double kWorthSharing = 4e7;

double Cost(const PolarPair& pair) {
  const double a = static_cast<double>(pair.x.rows.size),
               b = static_cast<double>(pair.x.columns.size);
  const double small = std::min(a, b), large = std::max(a, b);
  return small * small * (3 * large + 10 * small);
}

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

int Workers(const std::vector<PolarPair>& pairs) {
  double cost = 0;
  for (const PolarPair& pair : pairs) cost += Cost(pair);
  const double useful = std::min<double>(static_cast<double>(pairs.size()), cost / kWorthAThread);
  return static_cast<int>(std::clamp<double>(useful, 1, NumThreads()));
}

// The time of the last thread, if each takes the largest of what is left.
double QueueTime(const std::vector<double>& costs, size_t begin, int threads) {
  std::vector<double> busy(static_cast<size_t>(threads), 0.0);
  for (size_t i = begin; i < costs.size(); ++i)
    *std::min_element(busy.begin(), busy.end()) += costs[i];
  return *std::max_element(busy.begin(), busy.end());
}

// How many of the largest matrices (costs descending) take all threads for themselves, one after
// the other, for the queue of the rest to end evenly. Threads inside a product lose a little to
// waiting, so only a clear imbalance counts.
size_t SharedMatrices(const std::vector<double>& costs, int threads) {
  constexpr double kImbalance = 1.15;
  double total = 0;
  for (const double cost : costs) total += cost;
  size_t shared = 0;
  while (shared < costs.size() && costs[shared] > kWorthSharing &&
         QueueTime(costs, shared, threads) > kImbalance * total / threads)
    total -= costs[shared++];
  return shared;
}

}  // namespace

size_t PolarWorkspace(const KernelTable& table, const ortho_polar_options& options,
                      const std::vector<PolarPair>& pairs) {
  const size_t each = ScratchPerThread(table, options, pairs, false);
  return each == 0 ? 0 : each * static_cast<size_t>(Workers(pairs)) + Scratch::kAlignment;
}

bool PolarAll(const KernelTable& table, const ortho_polar_options& options,
              const std::vector<PolarPair>& pairs, void* workspace, size_t workspace_bytes) {
  const size_t each = ScratchPerThread(table, options, pairs, true);
  const int workers = Workers(pairs);
  char* base = nullptr;
  if (each > 0) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(workspace);
    const size_t skip = (Scratch::kAlignment - address % Scratch::kAlignment) % Scratch::kAlignment;
    if (workspace == nullptr || workspace_bytes < skip + each * static_cast<size_t>(workers))
      return false;
    base = static_cast<char*>(workspace) + skip;
  }
  if (pairs.size() == 1 && Cost(pairs[0]) < kWorthSharing) {  // nothing to arrange
    Scratch scratch(base, each);
    PolarMatrix(table, options, pairs[0], scratch);
    return true;
  }
  std::vector<int64_t> order(pairs.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return Cost(pairs[a]) > Cost(pairs[b]); });
  std::vector<double> costs;
  for (const int64_t i : order) costs.push_back(Cost(pairs[i]));
  const size_t shared = SharedMatrices(costs, NumThreads());
  const auto run = [&](size_t i, int worker) {
    Scratch scratch(base + each * static_cast<size_t>(worker), each);
    PolarMatrix(table, options, pairs[order[i]], scratch);
  };
  {
    const InnerThreads all(NumThreads());
    for (size_t i = 0; i < shared; ++i) run(i, 0);
  }
  ParallelFor(static_cast<int64_t>(pairs.size() - shared), workers,
              [&](int64_t i, int worker) { run(shared + static_cast<size_t>(i), worker); });
  return true;
}

}  // namespace ortho::cpu
