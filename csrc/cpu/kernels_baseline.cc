// x86-64: SSE2, sixteen registers of 16 bytes, no fused multiply-add.
#define ORTHO_VECTOR_BYTES 16
#define ORTHO_TILE_ROWS 4
#include "cpu/kernels_simd.h"

namespace ortho::cpu {

extern const KernelTable kBaselineKernels = MakeKernelTable("baseline");

}  // namespace ortho::cpu
