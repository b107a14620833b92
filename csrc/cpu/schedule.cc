#include "cpu/schedule.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "cpu/thread_pool.h"

namespace ortho::cpu {
namespace {

// Below this many multiplications a thread is not worth waking.
constexpr double kWorthAThread = 2e5;
// Below this, threads do not help inside one matrix.
constexpr double kWorthSharing = 4e7;

int Workers(size_t count, const CostOf& cost) {
  double total = 0;
  for (size_t i = 0; i < count; ++i) total += cost(i);
  const double useful = std::min<double>(static_cast<double>(count), total / kWorthAThread);
  return static_cast<int>(std::clamp<double>(useful, 1, NumThreads()));
}

// Costs, descending, and whose they are.
using Order = std::vector<std::pair<double, size_t>>;

// The time of the last thread, if each takes the largest of what is left.
double QueueTime(const Order& order, size_t begin, int threads) {
  std::vector<double> busy(static_cast<size_t>(threads), 0.0);
  for (size_t i = begin; i < order.size(); ++i)
    *std::min_element(busy.begin(), busy.end()) += order[i].first;
  return *std::max_element(busy.begin(), busy.end());
}

// How many of the largest matrices take all threads for themselves, one after the other, for the
// queue of the rest to end evenly. Threads inside a product lose a little to
// waiting, so only a clear imbalance counts.
size_t SharedMatrices(const Order& order, int threads) {
  constexpr double kImbalance = 1.15;
  double total = 0;
  for (const auto& [cost, i] : order) total += cost;
  size_t shared = 0;
  while (shared < order.size() && order[shared].first > kWorthSharing &&
         QueueTime(order, shared, threads) > kImbalance * total / threads)
    total -= order[shared++].first;
  return shared;
}

}  // namespace

size_t ScheduleWorkspace(size_t count, const CostOf& cost, size_t each) {
  return each == 0 ? 0 : each * static_cast<size_t>(Workers(count, cost)) + Scratch::kAlignment;
}

bool Schedule(size_t count, const CostOf& cost, size_t each, void* workspace,
              size_t workspace_bytes, const std::function<void(size_t, Scratch&)>& task) {
  const int workers = Workers(count, cost);
  char* base = nullptr;
  if (each > 0) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(workspace);
    const size_t skip = (Scratch::kAlignment - address % Scratch::kAlignment) % Scratch::kAlignment;
    if (workspace == nullptr || workspace_bytes < skip + each * static_cast<size_t>(workers))
      return false;
    base = static_cast<char*>(workspace) + skip;
  }
  if (count == 1 && cost(0) < kWorthSharing) {  // nothing to arrange
    Scratch scratch(base, each);
    task(0, scratch);
    return true;
  }
  Order order;
  order.reserve(count);
  for (size_t i = 0; i < count; ++i) order.emplace_back(cost(i), i);
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  const size_t shared = SharedMatrices(order, NumThreads());
  const auto run = [&](size_t i, int worker) {
    Scratch scratch(base + each * static_cast<size_t>(worker), each);
    task(order[i].second, scratch);
  };
  {
    const InnerThreads all(NumThreads());
    for (size_t i = 0; i < shared; ++i) run(i, 0);
  }
  ParallelFor(static_cast<int64_t>(count - shared), workers,
              [&](int64_t i, int worker) { run(shared + static_cast<size_t>(i), worker); });
  return true;
}

}  // namespace ortho::cpu
