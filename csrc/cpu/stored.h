// The caller's matrices between strided memory and the kernels.
#pragma once

#include "core/matrix.h"
#include "cpu/kernel_table.h"

namespace ortho::cpu {

// A matrix of the caller as the kernels like it: one axis of unit stride. `stride` is the other
// axis's. "small" is the shorter side, on which everything is computed (polar(X^T) = polar(X)^T).
struct StoredMatrix {
  char* data = nullptr;
  Dtype dtype = Dtype::kFloat32;
  int64_t small = 0, large = 0;
  bool large_is_contiguous = true;  // element (s, l) at s * stride + l, otherwise at l * stride + s
  int64_t stride = 0;
};

// A contiguous working copy in that form: small x large, row-major.
inline StoredMatrix RowMajor(void* data, Dtype dtype, int64_t small, int64_t large) {
  return {static_cast<char*>(data), dtype, small, large, true, large};
}

// Whether `matrix` is already like that; fills `stored` if so.
bool AsStored(const Matrix& matrix, StoredMatrix* stored);

// Whether two matrices of that form agree in size and dtype, so that they take the same scratch.
inline bool SameForm(const Matrix& a, const Matrix& b) {
  return a.dtype == b.dtype && a.rows.size == b.rows.size && a.columns.size == b.columns.size;
}

// The slow road for the other layouts, element by element: a contiguous copy in `data`
// (Bytes(matrix) of them), and back.
int64_t Bytes(const Matrix& matrix);
StoredMatrix Contiguous(char* data, const Matrix& like);
void Gather(const Matrix& matrix, const StoredMatrix& copy);
void Scatter(const StoredMatrix& copy, const Matrix& matrix);

// max |x|, infinity if anything in x is not finite.
double MaxAbs(const KernelTable& table, const StoredMatrix& x);

void Fill(const KernelTable& table, const StoredMatrix& out, double value);

// target = scale * source, of the same size, whatever their layouts and dtypes.
void CopyRows(const KernelTable& table, const StoredMatrix& source, double scale,
              const StoredMatrix& target);

}  // namespace ortho::cpu
