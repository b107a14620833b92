// The seam between a kernel source and what runs it: nvcc and a GPU, or a C++ compiler and
// csrc/emulation. Kernel files include this instead of the CUDA runtime, and start kernels by
// ORTHO_LAUNCH, because <<<>>> is not C++.
#pragma once

#if defined(ORTHO_EMULATION)
#include "emulation/cuda.h"
#else
#include <cuda_runtime.h>
#define ORTHO_LAUNCH(kernel, grid, block, stream, ...) \
  kernel<<<(grid), (block), 0, (stream)>>>(__VA_ARGS__)
#endif
