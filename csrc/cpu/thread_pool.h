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

}  // namespace ortho::cpu
