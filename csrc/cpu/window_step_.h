// Op window_step_ on a CPU.
#pragma once

#include <cstddef>

#include "cpu/element_list.h"

namespace ortho::cpu {

struct Window {
  char* rows;   // capacity x numbers, `stride` elements apart
  Dtype dtype;  // float32 or bfloat16
  int64_t capacity, numbers, stride;
  double* gram;          // capacity x capacity
  double* coefficients;  // capacity
};

struct WindowEstimate {
  double eigenvalue, cosine;  // the first for sigma = 1; both NaN where nothing was done
};

size_t WindowStepWorkspace(const Window& window);
WindowEstimate WindowStep(const KernelTable& table, const Window& window,
                          const ElementList& gradient, int64_t slot, int64_t filled,
                          void* workspace);

}  // namespace ortho::cpu
