// AVX-512 with dot products of bfloat16 pairs: the only row that needs an intrinsic, for no vector
// type of the compiler's says vdpbf16ps.
#define ORTHO_VECTOR_BYTES 64
#define ORTHO_TILE_ROWS 8
#include <immintrin.h>

#include "cpu/kernels_pairs.h"

namespace ortho::cpu {
namespace {

struct DotProducts {
  static FloatVector Add(FloatVector sum, PairVector a, PairVector b) {
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
  }
};

}  // namespace

extern const KernelTable kAvx512Bf16Kernels =
    MakeKernelTable("avx512_bf16", MakePairKernels<DotProducts>());

}  // namespace ortho::cpu
