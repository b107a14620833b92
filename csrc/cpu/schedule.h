// Many matrices over the threads, each thread with scratch of its own.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "cpu/scratch.h"

namespace ortho::cpu {

// Bytes for Schedule, if a task takes up to `each` bytes of scratch. `costs`, one a task, are in
// multiplications.
size_t ScheduleWorkspace(const std::vector<double>& costs, size_t each);

// Runs task(i, scratch) for all i: the costliest first, each on one thread or, if they outweigh the
// rest, on all (see InnerThreads). False, with nothing done, if the workspace is too small.
bool Schedule(const std::vector<double>& costs, size_t each, void* workspace,
              size_t workspace_bytes, const std::function<void(size_t, Scratch&)>& task);

}  // namespace ortho::cpu
