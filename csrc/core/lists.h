// What ops on lists of tensors check alike.
#pragma once

#include <vector>

#include "core/matrix.h"

namespace ortho {

// The options of a polar factor, whatever op asks for one.
ortho_status CheckPolarOptions(const char* op, const ortho_polar_options& options);

// The i-th input, called `name`: a tensor that can be read as matrices by `row_blocks`, on the CPU
// or, for ops that have CUDA kernels and in builds that have any, on a GPU.
ortho_status CheckInput(const char* op, ArgumentName name, const ortho_tensor& x, int64_t i,
                        int64_t row_blocks, bool has_cuda_kernels = false);

// The i-th tensor of the argument `list`.
struct ListEntry {
  Extent extent;
  const char* list;
  int64_t i;
  bool written;
};

// No tensor that is written may touch another one. Lists are long only for whole models, whose
// extents sort in microseconds.
ortho_status CheckDisjoint(const char* op, std::vector<ListEntry> entries);

}  // namespace ortho
