// What a block does with a strided matrix in device memory: its largest exponent, tiles in and out,
// a value all over it.
#pragma once

#include "cuda/scalars.h"
#include "cuda/tile.h"

namespace ortho::cuda {

constexpr unsigned kWholeWarp = ~0u;

// One value per warp combined, in order, for everybody.
template <int kWarps, typename T, typename Combine>
__device__ T AcrossWarps(T value, T* scratch, Combine combine) {
  for (int flip = 16; flip > 0; flip /= 2)
    value = combine(value, __shfl_xor_sync(kWholeWarp, value, flip));
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  value = scratch[0];
  for (int w = 1; w < kWarps; ++w) value = combine(value, scratch[w]);
  return value;
}

// Calls visit(offset) for this thread's share of x; neighbours in memory go to neighbouring lanes.
template <int kWarps, typename Visit>
__device__ void ForThisThread(const PackedMatrix& x, Visit visit) {
  const bool by_rows = abs(x.columns.step) <= abs(x.rows.step);
  const PackedAxis slow = by_rows ? x.rows : x.columns, fast = by_rows ? x.columns : x.rows;
  const int slow_size = by_rows ? x.m : x.n, fast_size = by_rows ? x.n : x.m;
  for (int i = static_cast<int>(threadIdx.x) / 32; i < slow_size; i += kWarps) {
    const int32_t start = Offset(slow, i);
#pragma unroll 4
    for (int j = static_cast<int>(threadIdx.x) % 32; j < fast_size; j += 32)
      visit(start + Offset(fast, j));
  }
}

template <int kWarps>
__device__ int ExponentOfMax(const PackedMatrix& x) {
  ORTHO_SHARED_ARRAY(int, scratch, kWarps);
  int exponent = kAllZero;
  WithType(x, [&](const auto* data) {
    auto largest = Magnitude(Load(data)) & 0;
    ForThisThread<kWarps>(x, [&](int32_t offset) {
      const auto magnitude = Magnitude(Load(data + offset));
      largest = magnitude > largest ? magnitude : largest;
    });
    exponent = Exponent(largest);
  });
  return AcrossWarps<kWarps>(exponent, scratch, [](int a, int b) { return a > b ? a : b; });
}

template <int kWarps>
__device__ void Fill(const PackedMatrix& out, float value) {
  WithType(out, [&](auto* to) {
    ForThisThread<kWarps>(out, [&](int32_t offset) { Store(value, to + offset); });
  });
}

// Where this lane's elements of the tile at (row, column) of x lie, and which of them x has. Those
// that it has not are given the place of the last one that it has: so they can be read without a
// branch, as anything.
struct TileOffsets {
  int32_t rows[2], columns[4];
  bool has_row[2], has_column[4];

  __device__ __forceinline__ TileOffsets(const PackedMatrix& x, int row, int column) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int i = row + TileRow(lane, 2 * r);
      rows[r] = Offset(x.rows, min(i, x.m - 1));
      has_row[r] = i < x.m;
    }
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      const int j = column + TileColumn(lane, c % 2 + c / 2 * 4);
      columns[c] = Offset(x.columns, min(j, x.n - 1));
      has_column[c] = j < x.n;
    }
  }
  __device__ __forceinline__ int32_t operator[](int e) const {
    return rows[e / 2 % 2] + columns[e % 2 + e / 4 * 2];
  }
  __device__ __forceinline__ bool Has(int e) const {
    return has_row[e / 2 % 2] && has_column[e % 2 + e / 4 * 2];
  }
};

// This lane's elements of the tile at (row, column) of x 2^-exponent; zeros outside.
__device__ __forceinline__ void Gather(const PackedMatrix& x, int exponent, int row, int column,
                                       float (&values)[8]) {
  const TileOffsets offsets(x, row, column);
  WithType(x, [&](const auto* data) {
#pragma unroll
    for (int e = 0; e < 8; ++e) {
      const float value = Scale(Load(data + offsets[e]), -exponent);
      values[e] = offsets.Has(e) ? value : 0.0f;
    }
  });
}

__device__ __forceinline__ void Scatter(const float (&values)[8], const PackedMatrix& out, int row,
                                        int column) {
  const TileOffsets offsets(out, row, column);
  WithType(out, [&](auto* to) {
#pragma unroll
    for (int e = 0; e < 8; ++e)
      if (offsets.Has(e)) Store(values[e], to + offsets[e]);
  });
}

__device__ inline PackedMatrix Transposed(const PackedMatrix& x) {
  return {x.data, x.columns, x.rows, x.n, x.m, x.dtype};
}

}  // namespace ortho::cuda
