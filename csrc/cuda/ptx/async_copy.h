// cp.async: global to shared memory without registers in between.
#pragma once

#include "cuda/launch.h"

#if defined(ORTHO_EMULATION)
#include "emulation/ptx.h"
#else

namespace ortho::cuda::ptx {

// Starts copying 16 bytes, of which those from `bytes` on become zeros. They are there for this
// thread once it has waited, for others after a barrier on top.
__device__ __forceinline__ void CopyAsync16(void* shared, const void* global, int bytes = 16) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                   static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
               "l"(global), "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void CommitCopies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Until at most `kNewest` of the groups committed last are under way.
template <int kNewest>
__device__ __forceinline__ void AwaitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kNewest) : "memory");
}

}  // namespace ortho::cuda::ptx
#endif
