// The seam between a kernel source and what runs it: nvcc and a GPU, or a C++ compiler and
// csrc/emulation. Kernel files include this instead of the CUDA runtime, and say by these macros
// what is not C++: <<<>>>, and arrays of shared memory.
#pragma once

#if defined(ORTHO_EMULATION)
#include "emulation/cuda.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#define ORTHO_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  kernel<<<(grid), (block), (shared_bytes), (stream)>>>(__VA_ARGS__)
// T* name, to `count` elements; and to all the dynamic shared memory there is.
#define ORTHO_SHARED_ARRAY(T, name, count) __shared__ T name[count]
#define ORTHO_DYNAMIC_SHARED(T, name)                                 \
  extern __shared__ __align__(16) unsigned char name##_declaration[]; \
  T* const name = reinterpret_cast<T*>(name##_declaration)
// A parameter too large for every thread to have a copy of.
#define ORTHO_GRID_CONSTANT(T) const __grid_constant__ T
#endif
