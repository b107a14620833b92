// Op orthogonal_step_ on a CPU.
#pragma once

#include <vector>

#include "core/matrix.h"
#include "cpu/kernel_table.h"

namespace ortho::cpu {

// One matrix of a step: weight, gradient, momentum buffer (data null: none), all of one size.
struct StepTask {
  Matrix w, g, v;
  double scale = 1;
  bool fresh = false;  // v holds nothing yet
};

// Bytes of scratch for StepAll; only the gradients are looked at.
size_t StepWorkspace(const KernelTable& table, const ortho_step_options& options,
                     const std::vector<StepTask>& tasks);

// False, with nothing done, if the workspace is too small.
bool StepAll(const KernelTable& table, const ortho_step_options& options,
             const std::vector<StepTask>& tasks, void* workspace, size_t workspace_bytes);

}  // namespace ortho::cpu
