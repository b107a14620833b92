// Op sketch above the kernels: checks in words, workspace, and which device's kernels serve.
#include "cpu/sketch.h"

#include <exception>

#include "core/status.h"
#include "core/words.h"
#include "cpu/isa.h"

namespace ortho {
namespace {

constexpr const char* kOp = "sketch";

ortho_status CheckList(const ortho_tensor* tensors, int64_t count, int64_t dim) {
  if (count < 0 || (count > 0 && tensors == nullptr))
    return Fail(ORTHO_VALUE_ERROR, "%s: tensors must be a list, got %lld at %p", kOp,
                static_cast<long long>(count), static_cast<const void*>(tensors));
  if (dim < 1 || dim > cpu::kMostBuckets)
    return Fail(ORTHO_VALUE_ERROR, "%s: dim must be from 1 to %lld, got %lld", kOp,
                static_cast<long long>(cpu::kMostBuckets), static_cast<long long>(dim));
  for (int64_t i = 0; i < count; ++i) {
    const ArgumentName name("tensors", i);
    if (ortho_status status = CheckElements(kOp, name, tensors[i])) return status;
    if (tensors[i].device_type != ORTHO_DEVICE_CPU)
      return Fail(ORTHO_RUNTIME_ERROR, "%s: %s must be on cpu for the native kernels, got %s", kOp,
                  name.Text().c_str(), DeviceName(tensors[i]).c_str());
  }
  return ORTHO_OK;
}

ortho_status CheckOut(const ortho_tensor& out) {
  if (out.ndim != 1)
    return Fail(ORTHO_VALUE_ERROR, "%s: out must have 1 dimension, got shape %s", kOp,
                ShapeText(out).c_str());
  if (out.dtype.code != ORTHO_DTYPE_FLOAT || out.dtype.bits != 32)
    return Fail(ORTHO_TYPE_ERROR, "%s: out must be float32, got %s", kOp,
                DtypeName(out.dtype).c_str());
  if (out.device_type != ORTHO_DEVICE_CPU)
    return Fail(ORTHO_VALUE_ERROR, "%s: out must be on cpu like tensors, got %s", kOp,
                DeviceName(out).c_str());
  if (out.read_only)
    return Fail(ORTHO_VALUE_ERROR, "%s: out must be writable, got a read-only array", kOp);
  if (out.strides && out.shape[0] > 1 && out.strides[0] != 1)
    return Fail(ORTHO_VALUE_ERROR, "%s: out must be contiguous, got strides %s", kOp,
                StridesText(out).c_str());
  return CheckElements(kOp, "out", out);
}

std::vector<Elements> All(const ortho_tensor* tensors, int64_t count) {
  return std::vector<Elements>(tensors, tensors + count);
}

ortho_status Workspace(const ortho_tensor* tensors, int64_t count, int64_t dim, size_t* bytes) {
  if (ortho_status status = CheckList(tensors, count, dim)) return status;
  *bytes = cpu::SketchWorkspace(All(tensors, count), dim);
  return ORTHO_OK;
}

ortho_status Sketch(const ortho_tensor* tensors, int64_t count, uint64_t seed,
                    const ortho_tensor& out, void* workspace, size_t workspace_bytes) {
  if (ortho_status status = CheckOut(out)) return status;
  const int64_t dim = out.shape[0];
  if (ortho_status status = CheckList(tensors, count, dim)) return status;
  const Extent written = TouchedBytes(out);
  for (int64_t i = 0; i < count; ++i) {
    const Extent read = TouchedBytes(tensors[i]);
    if (read.begin < written.end && written.begin < read.end)
      return Fail(ORTHO_VALUE_ERROR, "%s: out must not overlap %s", kOp,
                  ArgumentName("tensors", i).Text().c_str());
  }
  const char* reason = nullptr;
  const cpu::KernelTable* table = cpu::ActiveKernels(&reason);
  if (table == nullptr) return Fail(ORTHO_RUNTIME_ERROR, "%s: %s", kOp, reason);
  const std::vector<Elements> elements = All(tensors, count);
  if (!cpu::Sketch(*table, elements, seed, dim, static_cast<float*>(out.data), workspace,
                   workspace_bytes))
    return Fail(ORTHO_SMALL_WORKSPACE, "%s: workspace must have at least %zu bytes, got %zu", kOp,
                cpu::SketchWorkspace(elements, dim), workspace_bytes);
  return ORTHO_OK;
}

}  // namespace
}  // namespace ortho

// Nothing throws through the ABI: what can still be thrown below is the want of memory or threads.
extern "C" ortho_status ortho_sketch_workspace(const ortho_tensor* tensors, int64_t count,
                                               int64_t dim, size_t* bytes) {
  try {
    return ortho::Workspace(tensors, count, dim, bytes);
  } catch (const std::exception& error) {
    return ortho::Fail(ORTHO_RUNTIME_ERROR, "sketch: %s", error.what());
  }
}

extern "C" ortho_status ortho_sketch(const ortho_tensor* tensors, int64_t count, uint64_t seed,
                                     const ortho_tensor* out, void* workspace,
                                     size_t workspace_bytes, void* stream) {
  static_cast<void>(stream);
  try {
    return ortho::Sketch(tensors, count, seed, *out, workspace, workspace_bytes);
  } catch (const std::exception& error) {
    return ortho::Fail(ORTHO_RUNTIME_ERROR, "sketch: %s", error.what());
  }
}
