// Named barriers: for some of a block's warps, while the others go their own way.
#pragma once

#include "cuda/launch.h"

#if defined(ORTHO_EMULATION)
#include "emulation/ptx.h"
#else

namespace ortho::cuda::ptx {

// Waits for `threads` threads (whole warps) at barrier `id`, 1 to 15.
__device__ __forceinline__ void SyncSome(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

}  // namespace ortho::cuda::ptx
#endif
