#include "core/matrix.h"

#include <algorithm>
#include <limits>

#include "core/status.h"
#include "core/words.h"

namespace ortho {
namespace {

// Strides in elements, spelled out where the tensor leaves them to row-major order.
struct Strides {
  int64_t of[Axis::kMaxDims] = {};
  explicit Strides(const ortho_tensor& tensor) {
    int64_t next = 1;
    for (int32_t d = tensor.ndim; d-- > 0;) {
      of[d] = tensor.strides ? tensor.strides[d] : next;
      next *= std::max<int64_t>(tensor.shape[d], 1);
    }
  }
  int64_t operator[](int d) const { return of[d]; }
};

bool IsEmpty(const ortho_tensor& tensor) {
  return std::any_of(tensor.shape, tensor.shape + tensor.ndim, [](int64_t n) { return n == 0; });
}

// Dimensions [begin, end) as one axis, neighbours merged where one stride serves both.
Axis MakeAxis(const ortho_tensor& tensor, const Strides& strides, int begin, int end) {
  Axis axis;
  axis.size = 1;
  for (int d = begin; d < end; ++d) {
    const int64_t size = tensor.shape[d];
    axis.size *= size;
    if (size == 1) continue;
    Axis::Dim* last = axis.dim_count > 0 ? &axis.dims[axis.dim_count - 1] : nullptr;
    if (last && last->stride == strides[d] * size)
      *last = {last->size * size, strides[d]};
    else
      axis.dims[axis.dim_count++] = {size, strides[d]};
  }
  if (axis.dim_count <= 1) {
    axis.stride = axis.dim_count == 1 ? axis.dims[0].stride : 1;
    axis.dim_count = 0;
  }
  return axis;
}

// Whether two indices of the view name the same element. Exact for the layouts that come out of
// slicing, transposing and expanding: sorted by stride, each dimension must step past everything
// below it.
bool OverlapsItself(const ortho_tensor& tensor) {
  const Strides strides(tensor);
  Axis::Dim dims[Axis::kMaxDims];
  int count = 0;
  for (int32_t d = 0; d < tensor.ndim; ++d) {
    if (tensor.shape[d] <= 1) continue;
    const Axis::Dim dim = {tensor.shape[d], std::abs(strides[d])};
    int at = count++;
    for (; at > 0 && dims[at - 1].stride > dim.stride; --at) dims[at] = dims[at - 1];
    dims[at] = dim;
  }
  int64_t reach = 0;
  for (int d = 0; d < count; ++d) {
    if (dims[d].stride <= reach) return true;
    reach += (dims[d].size - 1) * dims[d].stride;
  }
  return false;
}

bool SameView(const ortho_tensor& a, const ortho_tensor& b) {
  if (a.data != b.data || a.ndim != b.ndim) return false;
  const Strides a_strides(a), b_strides(b);
  for (int32_t d = 0; d < a.ndim; ++d)
    if (a.shape[d] > 1 && a_strides[d] != b_strides[d]) return false;
  return true;
}

}  // namespace

bool IsFloating(ortho_dtype dtype) {
  if (dtype.lanes > 1) return false;
  if (dtype.code == ORTHO_DTYPE_BFLOAT) return dtype.bits == 16;
  return dtype.code == ORTHO_DTYPE_FLOAT &&
         (dtype.bits == 16 || dtype.bits == 32 || dtype.bits == 64);
}

Dtype KernelDtype(ortho_dtype dtype) {
  if (dtype.code == ORTHO_DTYPE_BFLOAT) return Dtype::kBfloat16;
  return dtype.bits == 64 ? Dtype::kFloat64 : dtype.bits == 32 ? Dtype::kFloat32 : Dtype::kFloat16;
}

Extent TouchedBytes(const ortho_tensor& tensor) {
  const char* data = static_cast<const char*>(tensor.data);
  if (IsEmpty(tensor)) return {data, data};
  const Strides strides(tensor);
  int64_t low = 0, high = 1;
  for (int32_t d = 0; d < tensor.ndim; ++d)
    (strides[d] < 0 ? low : high) += (tensor.shape[d] - 1) * strides[d];
  const int64_t item = tensor.dtype.bits / 8;
  return {data + low * item, data + high * item};
}

ortho_status CheckTensor(const char* op, ArgumentName name, const ortho_tensor& tensor) {
  if (IsFloating(tensor.dtype) && tensor.ndim < 2)
    return Fail(ORTHO_VALUE_ERROR, "%s: %s must have at least 2 dimensions, got shape %s", op,
                name.Text().c_str(), ShapeText(tensor).c_str());
  return CheckElements(op, name, tensor);
}

ortho_status CheckElements(const char* op, ArgumentName name, const ortho_tensor& tensor) {
  if (!IsFloating(tensor.dtype))
    return Fail(ORTHO_TYPE_ERROR, "%s: %s must be float16, bfloat16, float32 or float64, got %s",
                op, name.Text().c_str(), DtypeName(tensor.dtype).c_str());
  return CheckMemory(op, name, tensor);
}

ortho_status CheckMemory(const char* op, ArgumentName name, const ortho_tensor& tensor) {
  if (tensor.ndim > Axis::kMaxDims)
    return Fail(ORTHO_VALUE_ERROR, "%s: %s must have at most %d dimensions, got shape %s", op,
                name.Text().c_str(), Axis::kMaxDims, ShapeText(tensor).c_str());
  int64_t elements = 1;
  for (int32_t d = 0; d < tensor.ndim; ++d) {
    const int64_t size = tensor.shape[d];
    if (size < 0 || (size > 0 && elements > std::numeric_limits<int64_t>::max() / 64 / size))
      return Fail(ORTHO_VALUE_ERROR, "%s: %s must have a size that memory can hold, got shape %s",
                  op, name.Text().c_str(), ShapeText(tensor).c_str());
    elements *= std::max<int64_t>(size, 1);
  }
  if (tensor.data == nullptr && !IsEmpty(tensor))
    return Fail(ORTHO_VALUE_ERROR, "%s: %s must point to its elements, got a null pointer", op,
                name.Text().c_str());
  return ORTHO_OK;
}

ortho_status CheckCudaBuilt(const char* op, ArgumentName name, const ortho_tensor& x) {
#if defined(ORTHO_WITH_CUDA)
  (void)op, (void)name, (void)x;
  return ORTHO_OK;
#else
  return Fail(ORTHO_RUNTIME_ERROR,
              "%s: %s is on %s, but this build has no CUDA kernels: install from source with nvcc "
              "on PATH and ORTHO_CUDA=1",
              op, name.Text().c_str(), DeviceName(x).c_str());
#endif
}

ortho_status CheckOutput(const char* op, ArgumentName name, ArgumentName like,
                         const ortho_tensor& out, const ortho_tensor& x) {
  if (out.ndim != x.ndim || !std::equal(x.shape, x.shape + x.ndim, out.shape))
    return Fail(ORTHO_VALUE_ERROR, "%s: %s must have shape %s, got %s", op, name.Text().c_str(),
                ShapeText(x).c_str(), ShapeText(out).c_str());
  if (out.dtype.code != x.dtype.code || out.dtype.bits != x.dtype.bits)
    return Fail(ORTHO_TYPE_ERROR, "%s: %s must be %s like %s, got %s", op, name.Text().c_str(),
                DtypeName(x.dtype).c_str(), like.Text().c_str(), DtypeName(out.dtype).c_str());
  if (out.device_type != x.device_type || out.device_id != x.device_id)
    return Fail(ORTHO_VALUE_ERROR, "%s: %s must be on %s like %s, got %s", op, name.Text().c_str(),
                DeviceName(x).c_str(), like.Text().c_str(), DeviceName(out).c_str());
  if (out.read_only)
    return Fail(ORTHO_VALUE_ERROR, "%s: %s must be writable, got a read-only array", op,
                name.Text().c_str());
  if (IsEmpty(out)) return ORTHO_OK;
  if (OverlapsItself(out))
    return Fail(ORTHO_VALUE_ERROR, "%s: %s must not overlap itself, got strides %s", op,
                name.Text().c_str(), StridesText(out).c_str());
  const Extent a = TouchedBytes(out), b = TouchedBytes(x);
  if (a.begin < b.end && b.begin < a.end && !SameView(out, x))
    return Fail(ORTHO_VALUE_ERROR, "%s: %s must not overlap %s unless it is the same memory", op,
                name.Text().c_str(), like.Text().c_str());
  return ORTHO_OK;
}

Elements::Elements(const ortho_tensor& tensor)
    : data(static_cast<char*>(tensor.data)),
      dtype(KernelDtype(tensor.dtype)),
      axis(MakeAxis(tensor, Strides(tensor), 0, tensor.ndim)) {}

Matrices::Matrices(const ortho_tensor& tensor, int64_t row_blocks) {
  if (IsEmpty(tensor)) return;
  const Strides strides(tensor);
  const int columns = row_blocks == ORTHO_VIEW_BATCH ? tensor.ndim - 1 : 1;
  first_.data = static_cast<char*>(tensor.data);
  first_.dtype = KernelDtype(tensor.dtype);
  first_.rows = MakeAxis(tensor, strides, columns - 1, columns);
  first_.columns = MakeAxis(tensor, strides, columns, tensor.ndim);
  if (row_blocks == ORTHO_VIEW_BATCH) {
    places_ = MakeAxis(tensor, strides, 0, columns - 1);
    return;
  }
  first_.rows.size /= row_blocks;
  places_.size = row_blocks;
  places_.stride = first_.rows.size * first_.rows.stride;
}

}  // namespace ortho
