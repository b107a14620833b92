// A count-sketch: the hash in vectors, the additions one by one and in order, for two elements may
// meet in a bucket.
#pragma once

#include "cpu/simd_step.h"
#include "cpu/sketch_hash.h"

namespace ortho::cpu {
namespace {

constexpr int kSketchGroup = 4 * kVector<float>;

inline WordVector SketchWords(const SketchHash& hash, WordVector lower) {
  WordVector x = lower ^ hash.mask;
  x = (x ^ (x >> 16)) * kSketchFirstFactor + hash.addend;
  x = (x ^ (x >> 15)) * kSketchSecondFactor;
  return x ^ (x >> 16);
}

template <int... kLanes>
constexpr WordVector LaneNumbers(Indices<kLanes...>) {
  return WordVector{kLanes...};
}

template <typename S>
void Sketch(const SketchHash& hash, uint32_t index, int64_t n, const void* elements,
            double* buckets) {
  const S* x = static_cast<const S*>(elements);
  const WordVector lanes = LaneNumbers(Lanes<float>{});
  alignas(ORTHO_VECTOR_BYTES) uint32_t words[kSketchGroup];
  for (; n > 0; n -= kSketchGroup, x += kSketchGroup, index += kSketchGroup) {
    ORTHO_UNROLL for (uint32_t k = 0; k < kSketchGroup; k += kVector<float>) {
      *reinterpret_cast<WordVector*>(words + k) = SketchWords(hash, lanes + (index + k));
    }
    const int64_t here = n < kSketchGroup ? n : kSketchGroup;
    for (int64_t i = 0; i < here; ++i)
      AddToSketch(words[i], hash.dim, static_cast<double>(Widen(x[i])), buckets);
  }
}

}  // namespace
}  // namespace ortho::cpu
