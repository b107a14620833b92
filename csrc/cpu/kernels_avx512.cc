// AVX-512: thirty-two registers of 64 bytes, twenty-four of them accumulators.
#define ORTHO_VECTOR_BYTES 64
#define ORTHO_TILE_ROWS 8
#include "cpu/kernels_simd.h"

namespace ortho::cpu {

extern const KernelTable kAvx512Kernels = MakeKernelTable("avx512");

}  // namespace ortho::cpu
