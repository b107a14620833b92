// Vectors of 64 bytes and tiles of eight rows, as kernels_avx512.cc has them, lowered by the
// compiler to what the test machine has.
#define ORTHO_VECTOR_BYTES 64
#define ORTHO_TILE_ROWS 8
#include "cpu/kernels_simd.h"

namespace ortho::test {

extern const cpu::KernelTable kWideKernels;
const cpu::KernelTable kWideKernels = cpu::MakeKernelTable("wide");

}  // namespace ortho::test
