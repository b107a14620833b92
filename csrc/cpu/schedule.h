// Many matrices over the threads, each thread with scratch of its own.
#pragma once

#include <cstddef>
#include <functional>

#include "cpu/scratch.h"

namespace ortho::cpu {

// Task i's cost in multiplications.
using CostOf = std::function<double(size_t)>;

// Bytes for Schedule, if a task takes up to `each` bytes of scratch.
size_t ScheduleWorkspace(size_t count, const CostOf& cost, size_t each);

// Runs task(i, scratch) for i < count: the costliest first, each on one thread or, if they outweigh
// the rest, on all (see InnerThreads). False, with nothing done, if the workspace is too small.
bool Schedule(size_t count, const CostOf& cost, size_t each, void* workspace,
              size_t workspace_bytes, const std::function<void(size_t, Scratch&)>& task);

}  // namespace ortho::cpu
