#include "cpu/schedule.h"

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "cpu/thread_pool.h"

namespace ortho::cpu {
namespace {

// Below this many multiplications a thread is not worth waking.
constexpr double kWorthAThread = 2e5;
// Below this, threads do not help inside one matrix.
constexpr double kWorthSharing = 4e7;

int Workers(const std::vector<double>& costs) {
  const double cost = std::accumulate(costs.begin(), costs.end(), 0.0);
  const double useful = std::min<double>(static_cast<double>(costs.size()), cost / kWorthAThread);
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
  double total = std::accumulate(costs.begin(), costs.end(), 0.0);
  size_t shared = 0;
  while (shared < costs.size() && costs[shared] > kWorthSharing &&
         QueueTime(costs, shared, threads) > kImbalance * total / threads)
    total -= costs[shared++];
  return shared;
}

}  // namespace

size_t ScheduleWorkspace(const std::vector<double>& costs, size_t each) {
  return each == 0 ? 0 : each * static_cast<size_t>(Workers(costs)) + Scratch::kAlignment;
}

bool Schedule(const std::vector<double>& costs, size_t each, void* workspace,
              size_t workspace_bytes, const std::function<void(size_t, Scratch&)>& task) {
  const int workers = Workers(costs);
  char* base = nullptr;
  if (each > 0) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(workspace);
    const size_t skip = (Scratch::kAlignment - address % Scratch::kAlignment) % Scratch::kAlignment;
    if (workspace == nullptr || workspace_bytes < skip + each * static_cast<size_t>(workers))
      return false;
    base = static_cast<char*>(workspace) + skip;
  }
  if (costs.size() == 1 && costs[0] < kWorthSharing) {  // nothing to arrange
    Scratch scratch(base, each);
    task(0, scratch);
    return true;
  }
  std::vector<size_t> order(costs.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return costs[a] > costs[b]; });
  std::vector<double> descending;
  for (const size_t i : order) descending.push_back(costs[i]);
  const size_t shared = SharedMatrices(descending, NumThreads());
  const auto run = [&](size_t i, int worker) {
    Scratch scratch(base + each * static_cast<size_t>(worker), each);
    task(order[i], scratch);
  };
  {
    const InnerThreads all(NumThreads());
    for (size_t i = 0; i < shared; ++i) run(i, 0);
  }
  ParallelFor(static_cast<int64_t>(costs.size() - shared), workers,
              [&](int64_t i, int worker) { run(shared + static_cast<size_t>(i), worker); });
  return true;
}

}  // namespace ortho::cpu
