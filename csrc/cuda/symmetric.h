// Symmetric m x m matrices in shared memory, in tiles (tile.h), padded with zeros to a size class,
// and who computes what of them. Of two mirrored tiles one is computed: a warp owns tiles (i, i +
// d), for some row i and d up to half the side, round the corner, so that one left operand serves
// all that it owns.
#pragma once

#include "cuda/tile.h"

namespace ortho::cuda {

// A size class: kSide tiles a side, and how they are spread over warps.
template <int kSide>
struct Shape {
  static constexpr int kSplit = kSide == 2 || kSide == 4 ? 2 : 1;  // warps to a row of tiles
  static constexpr int kWarps = kSide * kSplit;
  static constexpr int kThreads = kWarps * 32;
  static constexpr int kResident = kSide <= 4 ? 2 : 1;  // blocks on a multiprocessor, at least
  static constexpr int kOwned = (kSide / 2 + kSplit) / kSplit;  // tiles, at most
  static constexpr int kMatrixWords = kSide * kSide * kTileWords;
  static constexpr int kSharedBytes = 3 * kMatrixWords * 4;
  // The Gram matrix is summed over panels of that many tiles, staged twice where R and Q will be.
  static constexpr int kPanel = kSide == 1 ? 1 : 2;
  static constexpr int kPanelTiles = kSide * kPanel;
  static constexpr int kStaged = (kPanelTiles + kWarps - 1) / kWarps;  // by one warp, at most
  static_assert(kPanelTiles <= kSide * kSide);
};

// A thread's place in its block, and the three matrices.
template <int kSide>
struct Place : Shape<kSide> {
  using S = Shape<kSide>;
  uint32_t *g, *r, *q;
  int warp, lane, row;

  __device__ explicit Place(uint32_t* shared)
      : g(shared),
        r(shared + S::kMatrixWords),
        q(shared + 2 * S::kMatrixWords),
        warp(static_cast<int>(threadIdx.x) / 32),
        lane(static_cast<int>(threadIdx.x) % 32),
        row(warp % kSide) {}

  // How far right of the diagonal, round the corner, the i-th tile of this warp lies.
  __device__ int Distance(int i) const { return i * S::kSplit + warp / kSide; }
  __device__ int Column(int i) const {
    const int column = row + Distance(i);
    return column < kSide ? column : column - kSide;
  }
  // Half way round both tiles of a pair would be owned.
  __device__ bool Owns(int i) const {
    const int twice = 2 * Distance(i);
    return twice < kSide || (twice == kSide && row < kSide / 2);
  }
  __device__ bool OnDiagonal(int i, int e) const {
    return Distance(i) == 0 && TileRow(lane, e) == TileColumn(lane, e);
  }
  __device__ static uint32_t* At(uint32_t* matrix, int i, int j) {
    return matrix + (i * kSide + j) * kTileWords;
  }
  // An owned tile and its mirror image.
  __device__ void StoreOwned(uint32_t* matrix, int i, Tile tile) const {
    StoreTile(tile, At(matrix, row, Column(i)), lane);
    if (Distance(i) == 0) return;
    TransposeTile(tile);
    StoreTile(tile, At(matrix, Column(i), row), lane);
  }
};

}  // namespace ortho::cuda
