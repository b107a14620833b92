// Op window_step_ above the kernels: checks in words, workspace, and which device's kernels serve.
#include "cpu/window_step_.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <initializer_list>
#include <utility>
#include <vector>

#include "core/lists.h"
#include "core/status.h"
#include "core/words.h"
#include "cpu/isa.h"

namespace ortho {
namespace {

constexpr const char* kOp = "window_step_";

bool IsFloat64(ortho_dtype dtype) { return dtype.code == ORTHO_DTYPE_FLOAT && dtype.bits == 64; }

bool IsWindowType(ortho_dtype dtype) {
  return (dtype.code == ORTHO_DTYPE_FLOAT && dtype.bits == 32) ||
         (dtype.code == ORTHO_DTYPE_BFLOAT && dtype.bits == 16);
}

ortho_status CheckOnCpu(const char* name, const ortho_tensor& x) {
  if (x.device_type == ORTHO_DEVICE_CPU) return ORTHO_OK;
  return Fail(ORTHO_RUNTIME_ERROR, "%s: %s must be on cpu for the native kernels, got %s", kOp,
              name, DeviceName(x).c_str());
}

ortho_status CheckWritable(const char* name, const ortho_tensor& x) {
  if (!x.read_only) return ORTHO_OK;
  return Fail(ORTHO_VALUE_ERROR, "%s: %s must be writable, got a read-only array", kOp, name);
}

// A float64 array of one exact shape, row-major and without gaps.
ortho_status CheckNumbers(const char* name, const ortho_tensor& x,
                          std::initializer_list<int64_t> shape) {
  if (ortho_status status = CheckElements(kOp, name, x)) return status;
  if (!IsFloat64(x.dtype))
    return Fail(ORTHO_TYPE_ERROR, "%s: %s must be float64, got %s", kOp, name,
                DtypeName(x.dtype).c_str());
  const int64_t* sizes = shape.begin();
  const auto ndim = static_cast<int32_t>(shape.size());
  if (x.ndim != ndim || !std::equal(sizes, sizes + ndim, x.shape))
    return Fail(ORTHO_VALUE_ERROR, "%s: %s must have shape %s, got %s", kOp, name,
                TupleText(sizes, ndim).c_str(), ShapeText(x).c_str());
  const Axis elements = Elements(x).axis;
  if (elements.dim_count > 0 || (elements.size > 1 && elements.stride != 1))
    return Fail(ORTHO_VALUE_ERROR, "%s: %s must be contiguous, got strides %s", kOp, name,
                StridesText(x).c_str());
  if (ortho_status status = CheckOnCpu(name, x)) return status;
  return CheckWritable(name, x);
}

ortho_status CheckWindow(const ortho_window& window) {
  const ortho_tensor& rows = window.rows;
  if (ortho_status status = CheckTensor(kOp, "window", rows)) return status;
  if (!IsWindowType(rows.dtype))
    return Fail(ORTHO_TYPE_ERROR, "%s: window must be float32 or bfloat16, got %s", kOp,
                DtypeName(rows.dtype).c_str());
  if (rows.ndim != 2 || rows.shape[0] < 1)
    return Fail(ORTHO_VALUE_ERROR, "%s: window must have shape (rows, numbers), got %s", kOp,
                ShapeText(rows).c_str());
  const int64_t numbers = rows.shape[1];
  if (rows.strides &&
      ((numbers > 1 && rows.strides[1] != 1) || (rows.shape[0] > 1 && rows.strides[0] < numbers)))
    return Fail(ORTHO_VALUE_ERROR, "%s: window must have contiguous rows, got strides %s", kOp,
                StridesText(rows).c_str());
  if (ortho_status status = CheckOnCpu("window", rows)) return status;
  if (ortho_status status = CheckWritable("window", rows)) return status;
  const int64_t s = rows.shape[0];
  if (ortho_status status = CheckNumbers("gram", window.gram, {s, s})) return status;
  return CheckNumbers("coefficients", window.coefficients, {s});
}

struct Call {
  const ortho_window& window;
  const ortho_tensor* gradients;
  int64_t count, slot, filled;
  double sigma;
  const ortho_tensor& out;
};

ortho_status CheckNumbersOfCall(const Call& call) {
  const int64_t s = call.window.rows.shape[0];
  if (call.filled < 1 || call.filled > s)
    return Fail(ORTHO_VALUE_ERROR, "%s: filled must be between 1 and %lld rows, got %lld", kOp,
                static_cast<long long>(s), static_cast<long long>(call.filled));
  if (call.slot < 0 || call.slot >= call.filled)
    return Fail(ORTHO_VALUE_ERROR, "%s: slot must be between 0 and filled - 1 = %lld, got %lld",
                kOp, static_cast<long long>(call.filled - 1), static_cast<long long>(call.slot));
  if (!(call.sigma > 0) || !std::isfinite(call.sigma))
    return Fail(ORTHO_VALUE_ERROR, "%s: sigma must be finite and > 0, got %g", kOp, call.sigma);
  return ORTHO_OK;
}

ortho_status CheckGradients(const Call& call) {
  if (call.count < 0 || (call.count > 0 && call.gradients == nullptr))
    return Fail(ORTHO_VALUE_ERROR, "%s: gradients must be a list, got %lld at %p", kOp,
                static_cast<long long>(call.count), static_cast<const void*>(call.gradients));
  int64_t numbers = 0;
  for (int64_t i = 0; i < call.count; ++i) {
    const ArgumentName name("gradients", i);
    if (ortho_status status = CheckElements(kOp, name, call.gradients[i])) return status;
    if (ortho_status status = CheckOnCpu(name.Text().c_str(), call.gradients[i])) return status;
    numbers += Elements(call.gradients[i]).axis.size;
  }
  if (numbers != call.window.rows.shape[1])
    return Fail(ORTHO_VALUE_ERROR,
                "%s: gradients must have %lld elements in all like a row of window, got %lld", kOp,
                static_cast<long long>(call.window.rows.shape[1]), static_cast<long long>(numbers));
  return ORTHO_OK;
}

ortho_status CheckCall(const Call& call) {
  if (ortho_status status = CheckWindow(call.window)) return status;
  if (ortho_status status = CheckNumbersOfCall(call)) return status;
  if (ortho_status status = CheckGradients(call)) return status;
  if (ortho_status status = CheckNumbers("out", call.out, {2})) return status;
  std::vector<ListEntry> entries = {
      {TouchedBytes(call.window.rows), "window", -1, true},
      {TouchedBytes(call.window.gram), "gram", -1, true},
      {TouchedBytes(call.window.coefficients), "coefficients", -1, true},
      {TouchedBytes(call.out), "out", -1, true},
  };
  entries.reserve(entries.size() + static_cast<size_t>(call.count));
  for (int64_t i = 0; i < call.count; ++i)
    entries.push_back({TouchedBytes(call.gradients[i]), "gradients", i, false});
  return CheckDisjoint(kOp, std::move(entries));
}

cpu::Window KernelWindow(const ortho_window& window) {
  const ortho_tensor& rows = window.rows;
  cpu::Window result;
  result.rows = static_cast<char*>(rows.data);
  result.dtype = KernelDtype(rows.dtype);
  result.capacity = rows.shape[0];
  result.numbers = rows.shape[1];
  result.stride = rows.strides ? rows.strides[0] : rows.shape[1];
  result.gram = static_cast<double*>(window.gram.data);
  result.coefficients = static_cast<double*>(window.coefficients.data);
  return result;
}

ortho_status Step(const Call& call, void* workspace, size_t workspace_bytes) {
  if (ortho_status status = CheckCall(call)) return status;
  const char* reason = nullptr;
  const cpu::KernelTable* table = cpu::ActiveKernels(&reason);
  if (!table) return Fail(ORTHO_RUNTIME_ERROR, "%s: %s", kOp, reason);
  const cpu::Window window = KernelWindow(call.window);
  const size_t needed = cpu::WindowStepWorkspace(window);
  if (workspace == nullptr || workspace_bytes < needed)
    return Fail(ORTHO_SMALL_WORKSPACE, "%s: workspace must have at least %zu bytes, got %zu", kOp,
                needed, workspace_bytes);
  std::vector<Elements> gradients(call.gradients, call.gradients + call.count);
  const cpu::WindowEstimate estimate = cpu::WindowStep(
      *table, window, cpu::ElementList(std::move(gradients)), call.slot, call.filled, workspace);
  double* out = static_cast<double*>(call.out.data);
  out[0] = estimate.eigenvalue / call.sigma;
  out[1] = estimate.cosine;
  return ORTHO_OK;
}

}  // namespace
}  // namespace ortho

// Nothing throws through the ABI: what can still be thrown below is the want of memory or threads.
extern "C" ortho_status ortho_window_step_workspace(const ortho_window* window, size_t* bytes) try {
  if (ortho_status status = ortho::CheckWindow(*window)) return status;
  *bytes = ortho::cpu::WindowStepWorkspace(ortho::KernelWindow(*window));
  return ORTHO_OK;
} catch (const std::exception& error) {
  return ortho::Fail(ORTHO_RUNTIME_ERROR, "%s: %s", ortho::kOp, error.what());
}

extern "C" ortho_status ortho_window_step_(const ortho_window* window,
                                           const ortho_tensor* gradients, int64_t count,
                                           int64_t slot, int64_t filled, double sigma,
                                           const ortho_tensor* out, void* workspace,
                                           size_t workspace_bytes, void* /*stream*/) try {
  return ortho::Step({*window, gradients, count, slot, filled, sigma, *out}, workspace,
                     workspace_bytes);
} catch (const std::exception& error) {
  return ortho::Fail(ORTHO_RUNTIME_ERROR, "%s: %s", ortho::kOp, error.what());
}
