// The few inner loops that everything on a CPU is built from, as one table per instruction set.
//
// A row of the table is a file: kernels_reference.cc (plain loops, the truth for the others),
// kernels_baseline.cc (x86-64), kernels_avx2.cc, kernels_avx512.cc. Only those files are compiled
// with instruction-set flags, and they include nothing of the standard library: an inline function
// of the library compiled with AVX-512 could be the copy that the linker keeps for everyone.
//
// Matrices inside live in panels, k-major: `panel` columns side by side, rows one below the other,
// so that every product is "A^T B" over two streams read in order, and a symmetric operand serves
// on either side without repacking. A panel is three vectors wide: with tiles of `rows` rows the
// accumulators fill the registers of each instruction set.
#pragma once

#include <cstdint>

namespace ortho::cpu {

struct StepArrays;
struct StepRule;

template <typename T>
struct Kernels {
  int vector;  // elements of T in a vector register
  int rows;    // rows of a product tile
  int panel;   // columns of a panel: 3 * vector

  // c[r][j] = alpha * sum_i a[i][r] b[i][j] + beta * d[r][j] for r < rows, j < vectors * vector.
  // Rows of a, b, c and d are `panel` elements apart. d may be null (beta unused), and may be c.
  void (*product)(int vectors, int64_t k, const T* a, const T* b, T alpha, const T* d, T beta,
                  T* c);

  // The same for two tiles of rows, one vector wide: as many sums at once where a panel ends early.
  // The rows of a are a0's and then a1's; c and d have 2 * rows rows.
  void (*product_pair)(int64_t k, const T* a0, const T* a1, const T* b, T alpha, const T* d, T beta,
                       T* c);

  // target[c][r] = source[r][c], one block of vector x vector elements; strides between rows.
  void (*transpose)(const T* source, int64_t source_stride, T* target, int64_t target_stride);

  // The diagonal block of a Cholesky factorization, n <= panel a multiple of `vector`, rows `panel`
  // apart: the upper triangle of `a` becomes U with U^T U = A, `inverse` becomes U^-T (lower).
  // Returns the smallest pivot met; factorization stops at one that is not positive.
  T (*cholesky)(int n, T* a, T* inverse);

  // c = alpha a + beta b over n contiguous elements; b may be null; c may be a or b.
  void (*combine)(int64_t n, T alpha, const T* a, T beta, const T* b, T* c);

  // y[j] = sum_i x[i] a[i][j] for j < vectors * vector, rows of a `panel` elements apart.
  void (*weigh_rows)(int vectors, int64_t rows, const T* x, const T* a, T* y);

  double (*dot)(int64_t n, const T* x, const T* y);
  // (x, y) <- (c x - s y, s x + c y)
  void (*rotate)(int64_t n, T c, T s, T* x, T* y);

  // Conversions of a rows x columns block from and to storage, indexed by ortho::Dtype; storage has
  // unit stride along columns, `stride` elements between rows. load multiplies by `scale` on the
  // way.
  void (*load[4])(int64_t rows, int64_t columns, const void* source, int64_t stride, T scale,
                  T* target, int64_t target_stride);
  // The same with rows and columns exchanged: target[r][c] = scale * source[c][r] for r < rows and
  // c < columns, zero for columns <= c < vector.
  void (*load_transposed[4])(int64_t rows, int64_t columns, const void* source, int64_t stride,
                             T scale, T* target, int64_t target_stride);
  void (*store[4])(int64_t rows, int64_t columns, const T* source, int64_t source_stride,
                   void* target, int64_t stride);
};

struct KernelTable {
  const char* name;  // as ORTHO_ISA spells it
  Kernels<float> f32;
  Kernels<double> f64;

  // max |x| over n contiguous stored elements, infinity if any of them is NaN or Inf.
  double (*max_abs[4])(int64_t n, const void* x);
  // Rounds n floats to the nearest float16 [0] or bfloat16 [1] in place.
  void (*round[2])(int64_t n, float* x);
  // step_rule.h, on n contiguous stored elements.
  void (*step[4])(const StepRule& rule, double scale, int64_t n, const StepArrays& at);
};

template <typename T>
const Kernels<T>& KernelsFor(const KernelTable& table);
template <>
inline const Kernels<float>& KernelsFor<float>(const KernelTable& table) {
  return table.f32;
}
template <>
inline const Kernels<double>& KernelsFor<double>(const KernelTable& table) {
  return table.f64;
}

extern const KernelTable kReferenceKernels;
#if defined(__x86_64__)
extern const KernelTable kBaselineKernels;
extern const KernelTable kAvx2Kernels;
extern const KernelTable kAvx512Kernels;
#endif

}  // namespace ortho::cpu
