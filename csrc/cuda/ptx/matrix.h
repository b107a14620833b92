// The matrix instructions of a warp. Which lane holds which element of a fragment is spelled out in
// emulation/fragments.h.
#pragma once

#include "cuda/launch.h"

#if defined(ORTHO_EMULATION)
#include "emulation/ptx.h"
#else

namespace ortho::cuda::ptx {

// d += a b, for a 16 x 16 and b 16 x 8 of half precision, d in float32.
__device__ __forceinline__ void MultiplyF16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                            uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// d += a b, for a 8 x 4 and b 4 x 8, all float64.
__device__ __forceinline__ void MultiplyF64(double (&d)[2], double a, double b) {
  asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
               : "+d"(d[0]), "+d"(d[1])
               : "d"(a), "d"(b));
}

// The transpose of an 8 x 8 matrix of halves.
__device__ __forceinline__ uint32_t Transpose(uint32_t x) {
  uint32_t transposed;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(transposed) : "r"(x));
  return transposed;
}

// Four 8 x 8 matrices of halves from shared memory, each row 16 bytes: lane l brings the address of
// row l % 8 of matrix l / 8. The second transposes each.
__device__ __forceinline__ void LoadMatrices(uint32_t (&x)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}
__device__ __forceinline__ void LoadMatricesTransposed(uint32_t (&x)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}

}  // namespace ortho::cuda::ptx
#endif
