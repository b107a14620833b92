#include "core/lists.h"

#include <algorithm>
#include <cmath>

#include "core/status.h"
#include "core/words.h"

namespace ortho {

ortho_status CheckPolarOptions(const char* op, const ortho_polar_options& options) {
  if (options.method == ORTHO_POLAR_EXACT) {
    if (options.rank != ORTHO_RANK_TRUNCATE && options.rank != ORTHO_RANK_COMPLETE)
      return Fail(ORTHO_VALUE_ERROR, "%s: rank must be 0 (truncate) or 1 (complete), got %d", op,
                  options.rank);
    return ORTHO_OK;
  }
  if (options.method == ORTHO_POLAR_NEWTON) return ORTHO_OK;
  if (options.method != ORTHO_POLAR_POLYNOMIAL)
    return Fail(ORTHO_VALUE_ERROR,
                "%s: method must be 0 (exact), 1 (polynomial) or 2 (newton), got %d", op,
                options.method);
  if (options.precision < ORTHO_PRECISION_FLOAT32 || options.precision > ORTHO_PRECISION_BFLOAT16)
    return Fail(ORTHO_VALUE_ERROR,
                "%s: precision must be 0 (float32), 1 (float16) or 2 (bfloat16), got %d", op,
                options.precision);
  if (options.steps < 1)
    return Fail(ORTHO_VALUE_ERROR, "%s: steps must be >= 1, got %lld", op,
                static_cast<long long>(options.steps));
  if (options.coefficients == nullptr)
    return Fail(ORTHO_VALUE_ERROR, "%s: coefficients must be given, got a null pointer", op);
  for (int64_t i = 0; i < 3 * options.steps; ++i)
    if (!std::isfinite(options.coefficients[i]))
      return Fail(ORTHO_VALUE_ERROR, "%s: coefficients must be finite, got %g", op,
                  options.coefficients[i]);
  return ORTHO_OK;
}

ortho_status CheckInput(const char* op, ArgumentName name, const ortho_tensor& x, int64_t i,
                        int64_t row_blocks, bool has_cuda_kernels) {
  if (ortho_status status = CheckTensor(op, name, x)) return status;
  if (row_blocks < 0)
    return Fail(ORTHO_VALUE_ERROR, "%s: row_blocks[%lld] must be >= 0, got %lld", op,
                static_cast<long long>(i), static_cast<long long>(row_blocks));
  if (row_blocks > 1 && x.shape[0] % row_blocks != 0)
    return Fail(ORTHO_VALUE_ERROR,
                "%s: %s must have a first dimension divisible by %lld row blocks, got shape %s", op,
                name.Text().c_str(), static_cast<long long>(row_blocks), ShapeText(x).c_str());
  if (x.device_type == ORTHO_DEVICE_CUDA && has_cuda_kernels) return CheckCudaBuilt(op, name, x);
  if (x.device_type != ORTHO_DEVICE_CPU)
    return Fail(ORTHO_RUNTIME_ERROR, "%s: %s must be on cpu for the native kernels, got %s", op,
                name.Text().c_str(), DeviceName(x).c_str());
  return ORTHO_OK;
}

ortho_status CheckDisjoint(const char* op, std::vector<ListEntry> entries) {
  std::stable_sort(entries.begin(), entries.end(), [](const ListEntry& a, const ListEntry& b) {
    return a.extent.begin < b.extent.begin;
  });
  const ListEntry *last = nullptr, *last_written = nullptr;  // those that reach furthest so far
  for (const ListEntry& entry : entries) {
    if (entry.extent.begin == entry.extent.end) continue;
    const ListEntry* other = entry.written ? last : last_written;
    if (other && other->extent.end > entry.extent.begin) {
      const ListEntry& written = entry.written ? entry : *other;
      const ListEntry& with = entry.written ? *other : entry;
      return Fail(ORTHO_VALUE_ERROR, "%s: %s must not overlap %s", op,
                  ArgumentName(written.list, written.i).Text().c_str(),
                  ArgumentName(with.list, with.i).Text().c_str());
    }
    if (!last || entry.extent.end > last->extent.end) last = &entry;
    if (entry.written && (!last_written || entry.extent.end > last_written->extent.end))
      last_written = &entry;
  }
  return ORTHO_OK;
}

}  // namespace ortho
