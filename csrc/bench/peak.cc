// Compiled once for each instruction set, as CMakeLists.txt says: ORTHO_VECTOR_BYTES, ORTHO_PEAK.
#include "peak.h"

namespace ortho::bench {
namespace {

// As many chains as a product's tile has sums: they hide the latency and leave registers over.
constexpr int kChains = ORTHO_VECTOR_BYTES == 64 ? 24 : 12;

template <typename T>
double Chains(int64_t rounds, T* sink) {
  typedef T V __attribute__((vector_size(ORTHO_VECTOR_BYTES)));
  const V factor = T(0.999) - V{}, term = T(0.001) - V{};
  V sum[kChains];
  for (int c = 0; c < kChains; ++c) sum[c] = T(c) - V{};  // alike, the compiler would make them one
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 24
    for (int c = 0; c < kChains; ++c) sum[c] = sum[c] * factor + term;
  }
  constexpr int kLanes = ORTHO_VECTOR_BYTES / static_cast<int>(sizeof(T));
  for (const V& chain : sum)
    for (int lane = 0; lane < kLanes; ++lane) *sink += chain[lane];
  return 2.0 * kChains * kLanes * static_cast<double>(rounds);
}

}  // namespace

extern const Peak ORTHO_PEAK = {Chains<float>, Chains<double>};

}  // namespace ortho::bench
