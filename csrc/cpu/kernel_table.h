// The few inner loops that everything on a CPU is built from, as one table per instruction set.
//
// A row of the table is a file: kernels_reference.cc (plain loops, the truth for the others),
// kernels_baseline.cc (x86-64), kernels_avx2.cc, kernels_avx512.cc, kernels_avx512_bf16.cc. Only
// those files are compiled with instruction-set flags, and they include nothing of the standard
// library: an inline function of the library compiled with AVX-512 could be the copy that the
// linker keeps for everyone.
//
// Matrices inside live in panels, k-major: `panel` columns side by side, rows one below the other,
// so that every product is "A^T B" over two streams read in order, and a symmetric operand serves
// on either side without repacking. A panel is three vectors wide: with tiles of `rows` rows the
// accumulators fill the registers of each instruction set.
#pragma once

#include <cstdint>

namespace ortho::cpu {

struct SketchHash;
struct StepArrays;
struct StepRule;

template <typename T>
struct Kernels {
  int vector;  // elements of T in a vector register
  int rows;    // rows of a product tile
  int panel;   // columns of a panel: 3 * vector

  // c[r][j] = alpha * sum_i a[i][r] b[i][j] + beta * d[r][j] for r < rows (whole tiles of them) and
  // j < vectors * vector. Rows of a, b, c and d are `panel` elements apart. The columns of a go on
  // from panel to panel, which are `a_panel` elements apart, if a begins where one does; or they
  // all lie within one. d may be null (beta unused), and may be c.
  void (*product)(int vectors, int64_t rows, int64_t k, const T* a, int64_t a_panel, const T* b,
                  T alpha, const T* d, T beta, T* c);

  // target[c][r] = source[r][c], one block of vector x vector elements; strides between rows.
  void (*transpose)(const T* source, int64_t source_stride, T* target, int64_t target_stride);

  // Copies the blocks of vector x vector above the diagonal of a square matrix in panels, `side` a
  // multiple of `vector`, to their places below it.
  void (*mirror)(int64_t side, T* a);

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

// Two bfloat16 numbers that are neighbours along k in one 32-bit word, as instructions for their
// dot products take them. In memory order, so that a row of bfloat16 is a row of pairs.
struct BfloatPair {
  uint16_t first, second;
};

// Products of bfloat16 operands with float32 sums, where the machine has an instruction for them;
// elsewhere all null. Panels of pairs are as wide as those of float32, with half as many rows.
// dot_pair.h says what is rounded when.
struct PairKernels {
  int vector, rows, panel;  // as those of float32
  // As in Kernels, k counting pairs, and blocks of vector x vector pairs.
  void (*product)(int vectors, int64_t rows, int64_t k, const BfloatPair* a, int64_t a_panel,
                  const BfloatPair* b, float alpha, const float* d, float beta, float* c);
  void (*transpose)(const BfloatPair* source, int64_t source_stride, BfloatPair* target,
                    int64_t target_stride);
  // target[i] = {first[i], second[i]}, of bfloat16 numbers and of floats that are rounded to them.
  void (*interleave)(int64_t n, const uint16_t* first, const uint16_t* second, BfloatPair* target);
  void (*round)(int64_t n, const float* first, const float* second, BfloatPair* target);
};

struct KernelTable {
  const char* name;  // as ORTHO_ISA spells it
  Kernels<float> f32;
  Kernels<double> f64;
  PairKernels pairs;

  // max |x| over n contiguous stored elements, infinity if any of them is NaN or Inf.
  double (*max_abs[4])(int64_t n, const void* x);
  // Rounds n floats to the nearest float16 [0] or bfloat16 [1] in place.
  void (*round[2])(int64_t n, float* x);
  // step_rule.h, on n contiguous stored elements.
  void (*step[4])(const StepRule& rule, double scale, int64_t n, const StepArrays& at);
  // Adds n contiguous stored elements to the buckets of a count-sketch, in their order; `index` is
  // the lower word of the first one's, and does not wrap within them.
  void (*sketch[4])(const SketchHash& hash, uint32_t index, int64_t n, const void* x,
                    double* buckets);
  // sums[r] += the dot product of row r and g, n stored elements each, for r < rows: of float32
  // [0], in float64, or of bfloat16 [1], in float32 and then float64. `stride` elements between
  // rows.
  void (*dot_rows[2])(int64_t rows, int64_t n, const void* window, int64_t stride, const void* g,
                      double* sums);
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
extern const KernelTable kAvx512Bf16Kernels;  // where the compiler knows the instructions
#endif

}  // namespace ortho::cpu
