// Op all_finite above the kernels: checks in words.
#include "cpu/all_finite.h"

#include <exception>

#include "core/matrix.h"
#include "core/status.h"
#include "core/words.h"

namespace ortho {
namespace {

constexpr const char* kOp = "all_finite";

ortho_status CheckNumbers(ArgumentName name, const ortho_tensor& tensor) {
  const bool is_complex = tensor.dtype.code == ORTHO_DTYPE_COMPLEX && tensor.dtype.lanes <= 1 &&
                          (tensor.dtype.bits == 64 || tensor.dtype.bits == 128);
  if (!is_complex && !IsFloating(tensor.dtype))
    return Fail(
        ORTHO_TYPE_ERROR,
        "%s: %s must be float16, bfloat16, float32, float64, complex64 or complex128, got %s", kOp,
        name.Text().c_str(), DtypeName(tensor.dtype).c_str());
  if (ortho_status status = CheckMemory(kOp, name, tensor)) return status;
  if (tensor.device_type != ORTHO_DEVICE_CPU)
    return Fail(ORTHO_RUNTIME_ERROR, "%s: %s must be on cpu for the native kernels, got %s", kOp,
                name.Text().c_str(), DeviceName(tensor).c_str());
  return ORTHO_OK;
}

}  // namespace
}  // namespace ortho

extern "C" ortho_status ortho_all_finite(const ortho_tensor* tensors, int64_t count,
                                         int32_t* finite) {
  using namespace ortho;
  try {
    if (count < 0)
      return Fail(ORTHO_VALUE_ERROR, "%s: count must be >= 0, got %lld", kOp,
                  static_cast<long long>(count));
    for (int64_t i = 0; i < count; ++i)
      if (ortho_status status = CheckNumbers({"tensors", i}, tensors[i])) return status;
    bool all = true;
    const ortho_status status = cpu::AllFinite(tensors, count, &all);
    *finite = all;
    return status;
  } catch (const std::exception& error) {
    return Fail(ORTHO_RUNTIME_ERROR, "%s: %s", kOp, error.what());
  }
}
