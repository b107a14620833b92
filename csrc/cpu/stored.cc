#include "cpu/polar.h"

namespace ortho::cpu {

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
