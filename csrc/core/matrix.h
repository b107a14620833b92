// Tensors as matrices: what a kernel below the waist is given.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/words.h"
#include "ortho/ortho.h"

namespace ortho {

enum class Dtype : int { kFloat16 = 0, kBfloat16 = 1, kFloat32 = 2, kFloat64 = 3 };
constexpr int kDtypes = 4;

inline int64_t ItemSize(Dtype dtype) {
  return dtype == Dtype::kFloat64 ? 8 : dtype == Dtype::kFloat32 ? 4 : 2;
}

// One axis of a strided view: where element i lies, in elements from the matrix's first one. A
// convolution's columns (channels, height, width) are one axis even where no single stride
// describes them (channels_last, a slice): then `dims` keeps their shape and strides, outermost
// first.
struct Axis {
  static constexpr int kMaxDims = 8;
  struct Dim {
    int64_t size, stride;
  };
  int64_t size = 0;
  int64_t stride = 0;
  int dim_count = 0;  // 0: `stride` tells all
  Dim dims[kMaxDims];

  Axis() = default;
  Axis(const Axis& other) { *this = other; }
  Axis& operator=(const Axis& other) {  // without the dims that are not there: most axes have none
    size = other.size;
    stride = other.stride;
    dim_count = other.dim_count;
    std::copy_n(other.dims, dim_count, dims);
    return *this;
  }

  int64_t Offset(int64_t i) const {
    if (dim_count == 0) return i * stride;
    int64_t offset = 0;
    for (int d = dim_count; d-- > 0; i /= dims[d].size) offset += i % dims[d].size * dims[d].stride;
    return offset;
  }
};

struct Matrix {
  char* data = nullptr;
  Dtype dtype = Dtype::kFloat32;
  Axis rows, columns;
};

// A tensor as matrices by the rule of ortho.h (ORTHO_VIEW_BATCH or a number of row blocks); there
// are none in an empty one. The tensor has passed CheckTensor.
class Matrices {
 public:
  Matrices() = default;  // none
  Matrices(const ortho_tensor& tensor, int64_t row_blocks);

  int64_t count() const { return places_.size; }
  Matrix operator[](int64_t i) const {
    Matrix matrix = first_;
    matrix.data += places_.Offset(i) * ItemSize(matrix.dtype);
    return matrix;
  }

 private:
  Matrix first_;
  Axis places_;  // of their first elements
};

// All elements of a tensor of any number of dimensions as one axis, in row-major order. The tensor
// has passed CheckElements.
struct Elements {
  char* data = nullptr;
  Dtype dtype = Dtype::kFloat32;
  Axis axis;

  Elements() = default;  // none
  explicit Elements(const ortho_tensor& tensor);
};

// What every op asks of a tensor: a floating dtype, at most 8 dimensions, a pointer where there are
// elements, a size that fits. `op` and `name` are for the words.
ortho_status CheckElements(const char* op, ArgumentName name, const ortho_tensor& tensor);
// The same of one that is read as matrices: 2 dimensions or more.
ortho_status CheckTensor(const char* op, ArgumentName name, const ortho_tensor& tensor);

// All of that but the dtype, for ops that read others too.
ortho_status CheckMemory(const char* op, ArgumentName name, const ortho_tensor& tensor);

// float16, bfloat16, float32 or float64: what kernels compute with.
bool IsFloating(ortho_dtype dtype);

// That this build has kernels for x, which is on a GPU.
ortho_status CheckCudaBuilt(const char* op, ArgumentName name, const ortho_tensor& x);

// What is asked of an output beside its input: same shape, dtype and device; writable; no overlap
// with itself, nor with x unless it is the very same view.
ortho_status CheckOutput(const char* op, ArgumentName name, ArgumentName like,
                         const ortho_tensor& out, const ortho_tensor& x);

Dtype KernelDtype(ortho_dtype dtype);

// The bytes that a view touches, [begin, end).
struct Extent {
  const char* begin;
  const char* end;
};
Extent TouchedBytes(const ortho_tensor& tensor);

}  // namespace ortho
