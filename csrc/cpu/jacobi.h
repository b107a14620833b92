// One-sided Jacobi: the singular value decomposition without a Gram matrix. Slow and sure; it
// serves where squaring would lose what decides (float64 input beyond condition 1e6, a tiny rtol).
#pragma once

#include "cpu/kernel_table.h"
#include "cpu/scratch.h"

namespace ortho::cpu {

// What counts as orthogonal: the cosine between two rows, to working precision.
constexpr double kOrthogonal = 1e-15;

// Rotates the rows of y (m x n, row-major) until they are orthogonal: J Y = diag(sigma) V^T. The
// rows of y end as sigma_i v_i^T, rotations collects J (m x m, row-major). Pairs whose rows are
// both shorter than negligible * the longest are left alone.
void OrthogonalizeRows(const Kernels<double>& kernels, int64_t m, int64_t n, double* y,
                       double* rotations, double negligible, double orthogonal = kOrthogonal);

}  // namespace ortho::cpu
