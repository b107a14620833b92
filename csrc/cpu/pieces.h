// What has gaps, piece by piece: copies between a strided axis and contiguous room.
#pragma once

#include <algorithm>

#include "core/matrix.h"

namespace ortho::cpu {

inline bool IsUnit(const Axis& axis) {
  return axis.dim_count == 0 && (axis.stride == 1 || axis.size == 1);
}

// visit(offset, stride, place, how many) on the pieces of elements [begin, begin + n) that one
// stride describes.
template <typename Visit>
void ForPieces(const Axis& axis, int64_t begin, int64_t n, const Visit& visit) {
  if (axis.dim_count == 0) return visit(begin * axis.stride, axis.stride, int64_t{0}, n);
  const Axis::Dim& last = axis.dims[axis.dim_count - 1];
  for (int64_t i = 0; i < n;) {
    const int64_t at = begin + i, here = std::min(n - i, last.size - at % last.size);
    visit(axis.Offset(at), last.stride, i, here);
    i += here;
  }
}

// to[i * to_stride] = from[i * from_stride]
inline void CopyStrided(int64_t n, const char* from, int64_t from_stride, char* to,
                        int64_t to_stride, int64_t item) {
  const auto copy = [&](const auto* source, auto* target) {
    for (int64_t i = 0; i < n; ++i) target[i * to_stride] = source[i * from_stride];
  };
  if (item == 2)
    copy(reinterpret_cast<const uint16_t*>(from), reinterpret_cast<uint16_t*>(to));
  else if (item == 4)
    copy(reinterpret_cast<const uint32_t*>(from), reinterpret_cast<uint32_t*>(to));
  else
    copy(reinterpret_cast<const uint64_t*>(from), reinterpret_cast<uint64_t*>(to));
}

// Elements [begin, begin + n) of an axis that starts at `data`, to a row without gaps, and back.
inline void GatherPieces(const Axis& axis, const char* data, int64_t item, int64_t begin, int64_t n,
                         char* row) {
  ForPieces(axis, begin, n, [&](int64_t offset, int64_t stride, int64_t i, int64_t here) {
    CopyStrided(here, data + offset * item, stride, row + i * item, 1, item);
  });
}
inline void ScatterPieces(const Axis& axis, char* data, int64_t item, int64_t begin, int64_t n,
                          const char* row) {
  ForPieces(axis, begin, n, [&](int64_t offset, int64_t stride, int64_t i, int64_t here) {
    CopyStrided(here, row + i * item, 1, data + offset * item, stride, item);
  });
}

}  // namespace ortho::cpu
