// AVX2 and FMA: sixteen registers of 32 bytes, twelve of them accumulators.
#define ORTHO_VECTOR_BYTES 32
#define ORTHO_TILE_ROWS 4
#include "cpu/kernels_simd.h"

namespace ortho::cpu {

extern const KernelTable kAvx2Kernels = MakeKernelTable("avx2");

}  // namespace ortho::cpu
