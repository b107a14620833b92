// Op frobenius_norm above the kernels: checks, and which device's kernel serves.
#include "cpu/frobenius_norm.h"

#include <cmath>
#include <exception>

#include "core/matrix.h"
#include "core/status.h"
#include "core/words.h"
#if defined(ORTHO_WITH_CUDA)
#include "cuda/frobenius_norm.h"
#endif

namespace ortho {
namespace {

constexpr const char* kOp = "frobenius_norm";

// out: float64, contiguous, of x's shape without its last two dimensions, on x's device.
ortho_status CheckNorms(const ortho_tensor& x, const ortho_tensor& out) {
  if (out.ndim != x.ndim - 2 || !std::equal(out.shape, out.shape + out.ndim, x.shape))
    return Fail(ORTHO_VALUE_ERROR, "%s: out must have shape %s, got %s", kOp,
                TupleText(x.shape, x.ndim - 2).c_str(), ShapeText(out).c_str());
  if (out.dtype.code != ORTHO_DTYPE_FLOAT || out.dtype.bits != 64)
    return Fail(ORTHO_TYPE_ERROR, "%s: out must be float64, got %s", kOp,
                DtypeName(out.dtype).c_str());
  if (out.device_type != x.device_type || out.device_id != x.device_id)
    return Fail(ORTHO_VALUE_ERROR, "%s: out must be on %s like x, got %s", kOp,
                DeviceName(x).c_str(), DeviceName(out).c_str());
  if (out.read_only)
    return Fail(ORTHO_VALUE_ERROR, "%s: out must be writable, got a read-only array", kOp);
  int64_t next = 1;
  for (int32_t d = out.ndim; out.strides && d-- > 0;) {
    if (out.shape[d] > 1 && out.strides[d] != next)
      return Fail(ORTHO_VALUE_ERROR, "%s: out must be contiguous, got strides %s", kOp,
                  StridesText(out).c_str());
    next *= out.shape[d];
  }
  const Extent a = TouchedBytes(x), b = TouchedBytes(out);
  if (a.begin < b.end && b.begin < a.end)
    return Fail(ORTHO_VALUE_ERROR, "%s: out must not overlap x", kOp);
  return ORTHO_OK;
}

ortho_status Norm(const ortho_tensor& x, const ortho_tensor& out, [[maybe_unused]] void* stream) {
  if (ortho_status status = CheckTensor(kOp, "x", x)) return status;
  if (ortho_status status = CheckNorms(x, out)) return status;
  if (x.device_type == ORTHO_DEVICE_CUDA) {
    if (ortho_status status = CheckCudaBuilt(kOp, "x", x)) return status;
#if defined(ORTHO_WITH_CUDA)
    return cuda::FrobeniusNorm(x, out, stream);
#endif
  }
  if (x.device_type != ORTHO_DEVICE_CPU)
    return Fail(ORTHO_RUNTIME_ERROR, "%s: x must be on cpu or cuda for the native kernels, got %s",
                kOp, DeviceName(x).c_str());
  return cpu::FrobeniusNorm(x, static_cast<double*>(out.data));
}

}  // namespace
}  // namespace ortho

extern "C" ortho_status ortho_frobenius_norm(const ortho_tensor* x, const ortho_tensor* out,
                                             void* stream) {
  try {
    return ortho::Norm(*x, *out, stream);
  } catch (const std::exception& error) {
    return ortho::Fail(ORTHO_RUNTIME_ERROR, "frobenius_norm: %s", error.what());
  }
}
