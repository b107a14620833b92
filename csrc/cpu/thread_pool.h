// Worker threads that wait for a list of tasks, and take them one by one in the list's order.
#pragma once

#include <cstdint>
#include <functional>

namespace ortho::cpu {

int NumThreads();
void SetNumThreads(int threads);  // >= 1; takes effect at the next call

// Runs task(i, worker) for i in [0, count), `worker` in [0, workers) with workers <= NumThreads();
// the calling thread is worker 0 and returns when all are done. Calls from several threads take
// turns; a child process made by fork starts threads of its own.
void ParallelFor(int64_t count, int workers, const std::function<void(int64_t, int)>& task);

// While one is alive, loops split by SplitLoop on this thread may use that many threads: for a
// matrix that outweighs all the others. What each turn of such a loop computes does not depend on
// who runs it.
class InnerThreads {
 public:
  explicit InnerThreads(int threads);
  ~InnerThreads();
  InnerThreads(const InnerThreads&) = delete;
  InnerThreads& operator=(const InnerThreads&) = delete;
  static int Current();
};

// body(i) for i in [0, count); `work` in multiplications decides whether threads are worth waking.
template <typename Body>
void SplitLoop(int64_t count, double work, const Body& body) {
  constexpr double kWorthSplitting = 5e5;
  const int threads = InnerThreads::Current();
  if (threads <= 1 || work < kWorthSplitting) {
    for (int64_t i = 0; i < count; ++i) body(i);
  } else {
    ParallelFor(count, threads, [&body](int64_t i, int) { body(i); });
  }
}

}  // namespace ortho::cpu
