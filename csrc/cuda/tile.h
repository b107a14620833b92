// A 16 x 16 tile of a float32 matrix as tensor cores take it: two float16 planes,
//   x = high + low / 2^11,
// which keep 22 bits, so that three float16 products are a product in nearly float32.
//
// Fragment order: a lane holds the 8 elements at which mma.m16n8k16 wants them in its operand A,
// and a stored tile is one 16-byte word a lane and plane: no bank conflicts, no ldmatrix, no
// swizzle. The same registers are the operand B of the tile's transpose, and what a product leaves
// in its accumulator is in this order too.
#pragma once

#include "cuda/ptx/matrix.h"

namespace ortho::cuda {

constexpr int kTile = 16;
constexpr int kTileWords = 2 * 32 * 4;  // two planes, 32 lanes, 4 words
constexpr float kLowScale = 2048;

// Where element e of a lane's 8 lies in its tile.
__device__ __forceinline__ int TileRow(int lane, int e) { return lane / 4 + e / 2 % 2 * 8; }
__device__ __forceinline__ int TileColumn(int lane, int e) {
  return lane % 4 * 2 + e % 2 + e / 4 * 8;
}

struct Tile {
  uint32_t high[4], low[4];
};

__device__ __forceinline__ uint32_t PackHalves(float a, float b) {
  const __half2 halves = __floats2half2_rn(a, b);
  return uint32_t{__half_as_ushort(__low2half(halves))} |
         uint32_t{__half_as_ushort(__high2half(halves))} << 16;
}
__device__ __forceinline__ float2 UnpackHalves(uint32_t word) {
  return make_float2(__half2float(__ushort_as_half(static_cast<unsigned short>(word & 0xFFFF))),
                     __half2float(__ushort_as_half(static_cast<unsigned short>(word >> 16))));
}

__device__ __forceinline__ Tile Split(const float (&x)[8]) {
  Tile tile;
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    tile.high[r] = PackHalves(x[2 * r], x[2 * r + 1]);
    const float2 kept = UnpackHalves(tile.high[r]);
    tile.low[r] = PackHalves((x[2 * r] - kept.x) * kLowScale, (x[2 * r + 1] - kept.y) * kLowScale);
  }
  return tile;
}

__device__ __forceinline__ void Join(const Tile& tile, float (&x)[8]) {
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const float2 high = UnpackHalves(tile.high[r]), low = UnpackHalves(tile.low[r]);
    x[2 * r] = high.x + low.x * (1 / kLowScale);
    x[2 * r + 1] = high.y + low.y * (1 / kLowScale);
  }
}

__device__ __forceinline__ Tile LoadTile(const uint32_t* stored, int lane) {
  const uint4 high = reinterpret_cast<const uint4*>(stored)[lane];
  const uint4 low = reinterpret_cast<const uint4*>(stored)[32 + lane];
  return {{high.x, high.y, high.z, high.w}, {low.x, low.y, low.z, low.w}};
}
__device__ __forceinline__ void StoreTile(const Tile& tile, uint32_t* stored, int lane) {
  reinterpret_cast<uint4*>(stored)[lane] =
      make_uint4(tile.high[0], tile.high[1], tile.high[2], tile.high[3]);
  reinterpret_cast<uint4*>(stored)[32 + lane] =
      make_uint4(tile.low[0], tile.low[1], tile.low[2], tile.low[3]);
}

__device__ __forceinline__ void TransposePlane(uint32_t (&x)[4]) {
  const uint32_t upper_right = x[2];
  x[0] = ptx::Transpose(x[0]);
  x[2] = ptx::Transpose(x[1]);
  x[1] = ptx::Transpose(upper_right);
  x[3] = ptx::Transpose(x[3]);
}
__device__ __forceinline__ void TransposeTile(Tile& tile) {
  TransposePlane(tile.high);
  TransposePlane(tile.low);
}

// A sum of products of tiles: the products of the high planes, and 2^11 times the mixed ones. The
// product of the low planes is beneath what the result can hold.
struct TileSum {
  float high[2][4] = {}, low[2][4] = {};  // eight columns each

  // += a b^T
  __device__ __forceinline__ void Add(const Tile& a, const Tile& b) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      ptx::MultiplyF16(low[half], a.high, b.low[half], b.low[half + 2]);
      ptx::MultiplyF16(low[half], a.low, b.high[half], b.high[half + 2]);
      ptx::MultiplyF16(high[half], a.high, b.high[half], b.high[half + 2]);
    }
  }
  // The element at (TileRow, TileColumn)(lane, e).
  __device__ __forceinline__ float operator[](int e) const {
    return high[e / 4][e % 4] + low[e / 4][e % 4] * (1 / kLowScale);
  }
};

}  // namespace ortho::cuda
