// out[bucket(i)] += sign(i) x[i] over a list of tensors taken as one vector x, read once.
//
// The sums have one order whatever the threads: x is cut into blocks whose size depends on out's
// alone, each block is summed in order into buckets of its own, and the blocks are added in order.
// Blocks are at least eight times as long as there are buckets, so that adding them costs little;
// threads take one each, and the next when all are added. Bound by the additions, one by one into
// the buckets (simd_sketch.h).
#include "cpu/sketch.h"

#include <algorithm>

#include "cpu/pieces.h"
#include "cpu/scratch.h"
#include "cpu/sketch_hash.h"
#include "cpu/thread_pool.h"

namespace ortho::cpu {
namespace {

// A power of two: no block straddles two upper words of the index.
int64_t BlockSize(int64_t dim) {
  int64_t size = int64_t{1} << 16;
  while (size < 8 * dim) size *= 2;
  return size;
}

int64_t Size(const std::vector<Elements>& tensors) {
  int64_t size = 0;
  for (const Elements& x : tensors) size += x.axis.size;
  return size;
}

int Workers(int64_t blocks) {
  return static_cast<int>(std::clamp<int64_t>(blocks, 1, NumThreads()));
}

int64_t Blocks(int64_t size, int64_t dim) { return (size + BlockSize(dim) - 1) / BlockSize(dim); }

class Summation {
 public:
  Summation(const KernelTable& table, const std::vector<Elements>& tensors, uint64_t seed,
            int64_t dim)
      : table_(table), tensors_(tensors), seed_(seed), dim_(dim) {}

  // Adds elements [begin, end) of the list to `buckets`.
  void operator()(int64_t begin, int64_t end, double* buckets) const {
    const SketchHash hash =
        MakeSketchHash(seed_, static_cast<uint64_t>(begin) >> 32, static_cast<uint32_t>(dim_));
    int64_t first = 0;
    for (const Elements& x : tensors_) {
      const int64_t from = std::max(begin, first), to = std::min(end, first + x.axis.size);
      if (from < to) Add(hash, x, from - first, to - first, static_cast<uint32_t>(from), buckets);
      first += x.axis.size;
    }
  }

 private:
  void Add(const SketchHash& hash, const Elements& x, int64_t begin, int64_t end, uint32_t index,
           double* buckets) const {
    constexpr int64_t kRoom = 256;
    const auto sketch = table_.sketch[static_cast<int>(x.dtype)];
    const int64_t item = ItemSize(x.dtype);
    if (IsUnit(x.axis)) return sketch(hash, index, end - begin, x.data + begin * item, buckets);
    alignas(64) char room[kRoom * sizeof(double)];
    for (int64_t at = begin; at < end; at += kRoom) {
      const int64_t n = std::min(kRoom, end - at);
      GatherPieces(x.axis, x.data, item, at, n, room);
      sketch(hash, index + static_cast<uint32_t>(at - begin), n, room, buckets);
    }
  }

  const KernelTable& table_;
  const std::vector<Elements>& tensors_;
  const uint64_t seed_;
  const int64_t dim_;
};

}  // namespace

size_t SketchWorkspace(const std::vector<Elements>& tensors, int64_t dim) {
  const int64_t rows = 1 + Workers(Blocks(Size(tensors), dim));
  return static_cast<size_t>(rows * dim) * sizeof(double) + Scratch::kAlignment;
}

bool Sketch(const KernelTable& table, const std::vector<Elements>& tensors, uint64_t seed,
            int64_t dim, float* out, void* workspace, size_t workspace_bytes) {
  if (workspace == nullptr || workspace_bytes < SketchWorkspace(tensors, dim)) return false;
  const uintptr_t address = reinterpret_cast<uintptr_t>(workspace);
  const uintptr_t aligned = (address + Scratch::kAlignment - 1) / Scratch::kAlignment;
  double* total = reinterpret_cast<double*>(aligned * Scratch::kAlignment);
  const Summation sum(table, tensors, seed, dim);
  const int64_t size = Size(tensors), length = BlockSize(dim), blocks = Blocks(size, dim);
  const int64_t workers = Workers(blocks);
  std::fill_n(total, dim, 0.0);
  for (int64_t first = 0; first < blocks; first += workers) {
    const int64_t here = std::min(workers, blocks - first);
    ParallelFor(here, static_cast<int>(here), [&](int64_t i, int) {
      double* buckets = total + (1 + i) * dim;
      const int64_t begin = (first + i) * length;
      std::fill_n(buckets, dim, 0.0);
      sum(begin, std::min(begin + length, size), buckets);
    });
    for (int64_t i = 0; i < here; ++i)
      for (int64_t k = 0; k < dim; ++k) total[k] += total[(1 + i) * dim + k];
  }
  for (int64_t k = 0; k < dim; ++k) out[k] = static_cast<float>(total[k]);
  return true;
}

}  // namespace ortho::cpu
