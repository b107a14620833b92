// Vectors of 64 bytes and tiles of eight rows, as kernels_avx512.cc and kernels_avx512_bf16.cc have
// them, lowered by the compiler to what the test machine has. For the one instruction that it
// cannot lower, vdpbf16ps, stands what it does.
#define ORTHO_VECTOR_BYTES 64
#define ORTHO_TILE_ROWS 8
#include "cpu/kernels_pairs.h"

namespace ortho::test {
namespace {

struct EmulatedDotProducts {
  static cpu::FloatVector Add(cpu::FloatVector sum, cpu::PairVector a, cpu::PairVector b) {
    for (int lane = 0; lane < 16; ++lane) {
      const int32_t words[2] = {a[lane], b[lane]};
      cpu::BfloatPair pairs[2];
      __builtin_memcpy(pairs, words, sizeof(pairs));
      sum[lane] = cpu::DotPair(sum[lane], pairs[0], pairs[1]);
    }
    return sum;
  }
};

}  // namespace

extern const cpu::KernelTable kWideKernels;
const cpu::KernelTable kWideKernels =
    cpu::MakeKernelTable("wide", cpu::MakePairKernels<EmulatedDotProducts>());

}  // namespace ortho::test
