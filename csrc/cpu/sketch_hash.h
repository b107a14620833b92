// Where a count-sketch puts element i, and with which sign. docs/ops/sketch.md states the hash; the
// reference and plain torch compute the same, so nothing here may change alone.
#pragma once

#include <cstdint>

namespace ortho::cpu {

constexpr uint32_t kSketchFirstFactor = 0x7feb352du, kSketchSecondFactor = 0x846ca68bu;

// For indices that agree in their upper 32 bits; `dim` buckets.
struct SketchHash {
  uint32_t mask, addend, dim;
};

// The finalizer of Vigna's SplitMix64.
inline uint64_t MixWord(uint64_t z) {
  z += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

inline SketchHash MakeSketchHash(uint64_t seed, uint64_t upper, uint32_t dim) {
  const uint64_t key = MixWord(MixWord(seed) ^ upper);
  return {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32), dim};
}

inline uint32_t SketchWord(const SketchHash& hash, uint32_t lower) {
  uint32_t x = lower ^ hash.mask;
  x = (x ^ (x >> 16)) * kSketchFirstFactor + hash.addend;
  x = (x ^ (x >> 15)) * kSketchSecondFactor;
  return x ^ (x >> 16);
}

// The upper bits of a word choose the bucket, its lowest one the sign: half of them, in no order
// that a processor could foretell, so it is put in place without a branch.
inline void AddToSketch(uint32_t word, uint32_t dim, double x, double* buckets) {
  uint64_t bits;
  __builtin_memcpy(&bits, &x, sizeof(bits));
  bits ^= static_cast<uint64_t>(word) << 63;
  __builtin_memcpy(&x, &bits, sizeof(bits));
  buckets[(static_cast<uint64_t>(word) * dim) >> 32] += x;
}

}  // namespace ortho::cpu
