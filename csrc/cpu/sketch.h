// Op sketch on a CPU.
#pragma once

#include <vector>

#include "core/matrix.h"
#include "cpu/kernel_table.h"

namespace ortho::cpu {

constexpr int64_t kMostBuckets = int64_t{1} << 24;  // leaves a word enough bits for its sign

// Bytes of scratch for Sketch at the current number of threads.
size_t SketchWorkspace(const std::vector<Elements>& tensors, int64_t dim);

// Writes dim floats. False, with nothing done, if the workspace is too small.
bool Sketch(const KernelTable& table, const std::vector<Elements>& tensors, uint64_t seed,
            int64_t dim, float* out, void* workspace, size_t workspace_bytes);

}  // namespace ortho::cpu
