#include "cpu/stored.h"

#include <algorithm>
#include <cstring>

namespace ortho::cpu {
namespace {

// The shorter axis is the small side; rows, where they are equal.
bool RowsAreSmall(const Matrix& matrix) { return matrix.rows.size <= matrix.columns.size; }

template <bool kGather>
void Transfer(const Matrix& matrix, const StoredMatrix& copy) {
  const Axis& small = RowsAreSmall(matrix) ? matrix.rows : matrix.columns;
  const Axis& large = RowsAreSmall(matrix) ? matrix.columns : matrix.rows;
  const int64_t item = ItemSize(matrix.dtype);
  for (int64_t s = 0; s < small.size; ++s) {
    char* row = matrix.data + small.Offset(s) * item;
    char* contiguous = copy.data + s * copy.stride * item;
    for (int64_t l = 0; l < large.size; ++l, contiguous += item) {
      char* element = row + large.Offset(l) * item;
      std::memcpy(kGather ? contiguous : element, kGather ? element : contiguous,
                  static_cast<size_t>(item));
    }
  }
}

}  // namespace

bool AsStored(const Matrix& matrix, StoredMatrix* stored) {
  const Axis& small = RowsAreSmall(matrix) ? matrix.rows : matrix.columns;
  const Axis& large = RowsAreSmall(matrix) ? matrix.columns : matrix.rows;
  if (small.dim_count > 0 || large.dim_count > 0) return false;
  const bool large_unit = large.stride == 1 || large.size == 1;
  const bool small_unit = small.stride == 1 || small.size == 1;
  if (!large_unit && !small_unit) return false;
  *stored = {matrix.data, matrix.dtype, small.size,
             large.size,  large_unit,   large_unit ? small.stride : large.stride};
  return true;
}

int64_t Bytes(const Matrix& matrix) {
  return matrix.rows.size * matrix.columns.size * ItemSize(matrix.dtype);
}

StoredMatrix Contiguous(char* data, const Matrix& like) {
  const int64_t small = std::min(like.rows.size, like.columns.size);
  const int64_t large = std::max(like.rows.size, like.columns.size);
  return RowMajor(data, like.dtype, small, large);
}

void Gather(const Matrix& matrix, const StoredMatrix& copy) { Transfer<true>(matrix, copy); }

void Scatter(const StoredMatrix& copy, const Matrix& matrix) { Transfer<false>(matrix, copy); }

double MaxAbs(const KernelTable& table, const StoredMatrix& x) {
  const auto max_abs = table.max_abs[static_cast<int>(x.dtype)];
  const int64_t rows = x.large_is_contiguous ? x.small : x.large;
  const int64_t length = x.large_is_contiguous ? x.large : x.small;
  if (x.stride == length) return max_abs(rows * length, x.data);
  double largest = 0;
  for (int64_t r = 0; r < rows; ++r)
    largest = std::max(largest, max_abs(length, x.data + r * x.stride * ItemSize(x.dtype)));
  return largest;
}

void Fill(const KernelTable& table, const StoredMatrix& out, double value) {
  const int64_t rows = out.large_is_contiguous ? out.small : out.large;
  const int64_t length = out.large_is_contiguous ? out.large : out.small;
  const auto store = table.f64.store[static_cast<int>(out.dtype)];
  constexpr int64_t kChunk = 256;
  double chunk[kChunk];
  std::fill_n(chunk, kChunk, value);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < length; c += kChunk) {
      const int64_t here = std::min(kChunk, length - c);
      store(1, here, chunk, here, out.data + (r * out.stride + c) * ItemSize(out.dtype), here);
    }
}

void CopyRows(const KernelTable& table, const StoredMatrix& source, double scale,
              const StoredMatrix& target) {
  // Through float64, which holds every storage type and every power of two that scales one to 1.
  constexpr int64_t kChunk = 256;
  double chunk[kChunk];
  const auto load = table.f64.load[static_cast<int>(source.dtype)];
  const auto store = table.f64.store[static_cast<int>(target.dtype)];
  const auto transfer = [&](int64_t count, const char* from, int64_t from_step, char* to,
                            int64_t to_step) {
    // Where the step is 1 the chunk is a row of the block, otherwise a column.
    if (from_step == 1)
      load(1, count, from, count, scale, chunk, count);
    else
      load(count, 1, from, from_step, scale, chunk, 1);
    if (to_step == 1)
      store(1, count, chunk, count, to, count);
    else
      store(count, 1, chunk, 1, to, to_step);
  };
  const auto step = [](const StoredMatrix& a) { return a.large_is_contiguous ? 1 : a.stride; };
  const auto row = [](const StoredMatrix& a) { return a.large_is_contiguous ? a.stride : 1; };
  const int64_t from_item = ItemSize(source.dtype), to_item = ItemSize(target.dtype);
  for (int64_t s = 0; s < source.small; ++s)
    for (int64_t l = 0; l < source.large; l += kChunk)
      transfer(std::min(kChunk, source.large - l),
               source.data + (s * row(source) + l * step(source)) * from_item, step(source),
               target.data + (s * row(target) + l * step(target)) * to_item, step(target));
}

}  // namespace ortho::cpu
