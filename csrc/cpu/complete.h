// rank="complete": a partial isometry filled up to an orthonormal small side.
#pragma once

#include "cpu/kernel_table.h"
#include "cpu/scratch.h"

namespace ortho::cpu {

// Elements of `scratch` that CompleteRank takes, at most.
int64_t CompleteScratch(int64_t m, int64_t n);

// o (m x n, row-major, m <= n) is a partial isometry of some rank r. Adds sum_i u_i w_i^T over
// orthonormal u_i outside its column space and w_i outside its row space, i < m - r, each built
// from the unit vector that the spaces so far cover least (the first of equals): the same answer
// for the same bits.
void CompleteRank(const Kernels<double>& kernels, int64_t m, int64_t n, double* o, double* scratch);

}  // namespace ortho::cpu
