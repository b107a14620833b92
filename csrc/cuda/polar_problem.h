// One matrix of a call, as the kernels of `polar` read it, and the table of them that a launch
// carries in its parameters: no copy to the device, nothing for a captured graph to outlive.
#pragma once

#include <cstdint>

#include "core/matrix.h"

namespace ortho::cuda {

// Where index i of one side of a matrix lies, in elements: i = (outer, inner) with a stride each,
// as the columns of a convolution in channels-last order have; with one stride all of i is inner.
struct PackedAxis {
  int32_t step = 0, jump = 0;  // of the inner and the outer part
  int32_t inner_size = INT32_MAX;
  uint32_t reciprocal = 2;  // 2^32 / inner_size, rounded down
};

// A matrix in device memory, in elements of `dtype` times 2^-exponent. 32-bit offsets: a matrix
// must not span more elements than that.
struct PackedMatrix {
  void* data;
  PackedAxis rows, columns;
  int32_t m, n;
  Dtype dtype;
};

struct PolarProblem {
  PackedMatrix x, out;  // small side first: m <= n
  float* iterate;       // a float32 matrix between the first and the last pass: out, or row-major
};

constexpr int kMaxSteps = 32;

// As much as fits into the 32,764 bytes that a kernel's parameters may have.
struct PolarTable {
  static constexpr int kCapacity = 256;
  PolarProblem problems[kCapacity];
  float coefficients[kMaxSteps][3];
  int32_t steps;
};
static_assert(sizeof(PolarTable) <= 32764);

}  // namespace ortho::cuda
