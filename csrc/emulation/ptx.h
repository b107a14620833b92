// The twins of csrc/cuda/ptx: the same functions, for the emulator.
#pragma once

#include <cstdint>

#include "emulation/grid.h"

namespace ortho::cuda::ptx {

using emulation::Here;
using emulation::Site;

// async_copy.h. The data arrive at the wait and no sooner; until then the destination is poison.
void CopyAsync16(void* shared, const void* global, int bytes = 16);
void CommitCopies();
void AwaitAllBut(int newest);
template <int kNewest>
void AwaitCopies() {
  AwaitAllBut(kNewest);
}

// matrix.h. Float32 sums are rounded towards zero once per instruction, the worst that a tensor
// core has been seen to do.
void MultiplyF16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                 Site site = Here());
void MultiplyF64(double (&d)[2], double a, double b, Site site = Here());
uint32_t Transpose(uint32_t x, Site site = Here());
void LoadMatrices(uint32_t (&x)[4], const void* row, Site site = Here());
void LoadMatricesTransposed(uint32_t (&x)[4], const void* row, Site site = Here());

}  // namespace ortho::cuda::ptx
