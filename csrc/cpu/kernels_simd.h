// The kernel table in compiler vectors. Each instruction-set file sets ORTHO_VECTOR_BYTES (16, 32,
// 64) and ORTHO_TILE_ROWS, includes this and names its table.
#pragma once

#include "cpu/simd_cholesky.h"
#include "cpu/simd_product.h"
#include "cpu/simd_rows.h"
#include "cpu/simd_sketch.h"
#include "cpu/simd_step.h"
#include "cpu/simd_window.h"

namespace ortho::cpu {
namespace {

template <typename T>
constexpr Kernels<T> MakeKernels() {
  return {kVector<T>,
          kRows<T>,
          kPanel<T>,
          Product<MultiplyAdd<T>>,
          Transpose<T>,
          Mirror<T>,
          Cholesky<T>,
          Combine<T>,
          WeighRows<T>,
          Dot<T>,
          Rotate<T>,
          {LoadRows<T, Half>, LoadRows<T, Bfloat>, LoadRows<T, float>, LoadRows<T, double>},
          {LoadTransposed<T, Half>, LoadTransposed<T, Bfloat>, LoadTransposed<T, float>,
           LoadTransposed<T, double>},
          {StoreRows<T, Half>, StoreRows<T, Bfloat>, StoreRows<T, float>, StoreRows<T, double>}};
}

constexpr KernelTable MakeKernelTable(const char* name, const PairKernels& pairs = {}) {
  return {name,
          MakeKernels<float>(),
          MakeKernels<double>(),
          pairs,
          {MaxAbsHalf, MaxAbsBfloat, MaxAbsFloat, MaxAbsDouble},
          {RoundToHalf, RoundToBfloat},
          {Step<Half>, Step<Bfloat>, Step<float>, Step<double>},
          {Sketch<Half>, Sketch<Bfloat>, Sketch<float>, Sketch<double>},
          {DotRows<float>, DotRows<Bfloat>}};
}

}  // namespace
}  // namespace ortho::cpu
