// The Frobenius norm of every matrix of a CUDA tensor.
#pragma once

#include "ortho/ortho.h"

namespace ortho::cuda {

// x and out have passed the op's checks (core/frobenius_norm.cc): x a floating (..., m, n) tensor,
// out a contiguous float64 (...) tensor on the same device. Enqueues one kernel on `stream` (a
// cudaStream_t) and returns; neither allocates nor waits.
ortho_status FrobeniusNorm(const ortho_tensor& x, const ortho_tensor& out, void* stream);

}  // namespace ortho::cuda
