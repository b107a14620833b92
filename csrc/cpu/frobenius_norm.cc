// ||X||_F = 2^e sqrt(sum (x 2^-e)^2), e the exponent of max |x|: no square under- or overflows, and
// scaling X by a power of two scales the result exactly. Sums in float64, one fixed order.
#include "cpu/frobenius_norm.h"

#include <algorithm>
#include <cmath>

#include "core/status.h"
#include "cpu/isa.h"

namespace ortho::cpu {
namespace {

// Calls visit(chunk, count) on all elements of `matrix` as float64, in row-major order.
template <typename Visit>
void ForEachChunk(const KernelTable& table, const Matrix& matrix, const Visit& visit) {
  constexpr int64_t kChunk = 256;
  double chunk[kChunk];
  const auto load = table.f64.load[static_cast<int>(matrix.dtype)];
  const int64_t item = ItemSize(matrix.dtype);
  const Axis& columns = matrix.columns;
  for (int64_t r = 0; r < matrix.rows.size; ++r) {
    const char* row = matrix.data + matrix.rows.Offset(r) * item;
    for (int64_t c = 0; c < columns.size; c += kChunk) {
      const int64_t here = std::min(kChunk, columns.size - c);
      if (columns.stride == 1)
        load(1, here, row + c * item, here, 1.0, chunk, here);
      else
        load(here, 1, row + c * columns.stride * item, columns.stride, 1.0, chunk, 1);
      visit(chunk, here);
    }
  }
}

double Norm(const KernelTable& table, const Matrix& matrix) {
  const auto max_abs = table.max_abs[static_cast<int>(Dtype::kFloat64)];
  double largest = 0;
  bool nan = false;
  ForEachChunk(table, matrix, [&](const double* chunk, int64_t n) {
    const double here = max_abs(n, chunk);
    if (std::isinf(here))
      nan = nan || std::any_of(chunk, chunk + n, [](double v) { return v != v; });
    largest = std::max(largest, here);
  });
  if (nan) return std::nan("");
  if (largest == 0 || std::isinf(largest)) return largest;
  const int exponent = std::max(std::ilogb(largest), -1000);
  const double scale = std::ldexp(1.0, -exponent);
  double sum = 0;
  ForEachChunk(table, matrix, [&](double* chunk, int64_t n) {
    table.f64.combine(n, scale, chunk, 0.0, nullptr, chunk);
    sum += table.f64.dot(n, chunk, chunk);
  });
  return std::ldexp(std::sqrt(sum), exponent);
}

}  // namespace

ortho_status FrobeniusNorm(const ortho_tensor& x, double* norms) {
  const char* reason = nullptr;
  const KernelTable* table = ActiveKernels(&reason);
  if (table == nullptr) return Fail(ORTHO_RUNTIME_ERROR, "frobenius_norm: %s", reason);
  int64_t count = 1;
  for (int32_t d = 0; d + 2 < x.ndim; ++d) count *= x.shape[d];
  std::fill(norms, norms + count, 0.0);  // for empty matrices
  const Matrices matrices(x, ORTHO_VIEW_BATCH);
  for (int64_t i = 0; i < matrices.count(); ++i) norms[i] = Norm(*table, matrices[i]);
  return ORTHO_OK;
}

}  // namespace ortho::cpu
