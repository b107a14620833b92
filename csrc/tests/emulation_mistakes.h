// Small kernels, right as they stand, with mistakes that can be switched on one at a time.
#pragma once

#include <cstddef>

namespace ortho::test {

enum class Mistake {
  kNone,
  // Sum
  kBarrierLeftOut,    // between writing shared memory and reading it
  kBarrierInBranch,   // half of the block does not come to it
  kBarriersApart,     // the halves of the block wait at different lines
  kLaneGone,          // a shuffle waits for a lane that has returned
  kLaneNotInMask,     // a shuffle takes its value from a lane that the mask leaves out
  kCollectivesApart,  // lanes of one warp meet in different collectives
  kSharedOverrun,     // one element past a shared array
  kSharedUnwritten,   // a read of shared memory that nobody wrote
  kGlobalOverrun,     // a read past a device buffer
  kGlobalUnwritten,   // a read of a device buffer that nobody wrote
  kHostPointer,       // a read of what is not device memory
  kParameterWritten,  // a write to what all threads share
  kBlocksCollide,     // += from several blocks without an atomic
  // Rotate
  kWarpBarrierLeftOut,  // between lanes that exchange values by shared memory
  kMisaligned,          // a vector load at an odd element
  kDynamicOverrun,      // past the dynamic shared memory
  // Stream
  kWaitLeftOut,      // before reading what an asynchronous copy brings
  kWaitTooShort,     // for one group of copies fewer than needed
  kWaitIsNoBarrier,  // the wait is there, the barrier for what others copied is not
  kCopiedTooSoon,    // the next copy starts while others still read
};

constexpr int kThreads = 64;

// *out += the sum of x, by `blocks` blocks.
void Sum(Mistake mistake, const float* x, float* out, int n, int blocks);

// out[i] = x[(i + 1) % 32] of each group of 32; n = kThreads.
void Rotate(Mistake mistake, const float* x, float* out);

// out = sum over tiles of kThreads * 4 floats of x, each tile reversed, through two stages of
// asynchronous copies.
void Stream(Mistake mistake, const float* x, float* out, int tiles);

// The matrix instructions, one warp: d = a b for halves (16 x 16, 16 x 8) and doubles (8 x 4, 4 x
// 8), all row-major; and four 8 x 8 tiles of halves, transposed by movmatrix and by ldmatrix.
void MultiplyHalves(const void* a, const void* b, float* d);
void MultiplyDoubles(const double* a, const double* b, double* d);
void TransposeTiles(const void* x, void* by_movmatrix, void* by_ldmatrix);

}  // namespace ortho::test
