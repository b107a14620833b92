// out[b] = sqrt(sum_ij x[b,i,j]^2), for x (..., m, n) of any strides; out (...) float64.
//
// One block per matrix: the op has no workspace in which several blocks could meet, and one block
// adds in one order, so the same values give the same bits whatever the batch, the grid or the
// card.
//
// Scaling: 2^-e, e the exponent of max |x|, would keep every square in range. Squares of float32
// and narrower types are in range as they are in float64 (1e-90 to 1e77), and scaling by a power of
// two changes no bit of a float64 sum; so only float64 input pays for the pass that finds the
// maximum.
//
// Layout: threads follow the axis with the smaller stride, hence neighbours read neighbours. The
// matrix is one index space cut across the block, so a 16 x 27 matrix and a 1 x n one both keep
// threads busy.
//
// Bound by one multiprocessor's share of the memory bandwidth for each matrix (float64: read twice,
// the second time mostly from L2): a batch fills the card, a single large matrix does not.
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "cuda/device.h"
#include "cuda/frobenius_norm.h"

namespace ortho::cuda {
namespace {

constexpr char kOp[] = "frobenius_norm";
constexpr int kThreads = 256;
constexpr int kMaxBatchDims = 62;  // NumPy and torch stop at 64 dimensions

struct Matrices {
  const void* data;
  double* out;
  int64_t rows, columns, row_stride, column_stride;
  int64_t batch;
  int32_t batch_dims;
  int64_t batch_shape[kMaxBatchDims], batch_strides[kMaxBatchDims];
};

__device__ inline double Load(const __half* x) { return __half2float(*x); }
__device__ inline double Load(const __nv_bfloat16* x) { return __bfloat162float(*x); }
__device__ inline double Load(const float* x) { return *x; }
__device__ inline double Load(const double* x) { return *x; }

template <typename T>
__device__ const T* MatrixAt(const Matrices& x, int64_t index) {
  const T* matrix = static_cast<const T*>(x.data);
  for (int d = x.batch_dims - 1; d >= 0; --d) {
    matrix += index % x.batch_shape[d] * x.batch_strides[d];
    index /= x.batch_shape[d];
  }
  return matrix;
}

// Calls visit(value) for elements threadIdx.x, threadIdx.x + kThreads, ... in row order. The
// position is stepped, not divided out of the index: a 64-bit division costs more than the rest of
// the loop.
template <typename T, typename Visit>
__device__ void ForThisThread(const Matrices& x, const T* matrix, Visit visit) {
  const int64_t step_rows = kThreads / x.columns, step_columns = kThreads % x.columns;
  const int64_t elements = x.rows * x.columns;
  int64_t row = threadIdx.x / x.columns, column = threadIdx.x % x.columns;
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < elements; i += kThreads) {
    visit(Load(matrix + row * x.row_stride + column * x.column_stride));
    row += step_rows;
    column += step_columns;
    if (column >= x.columns) {
      column -= x.columns;
      ++row;
    }
  }
}

// Combines one value per thread as a fixed tree, and hands the result to every thread.
template <typename Combine>
__device__ double AcrossBlock(double value, Combine combine) {
  ORTHO_SHARED_ARRAY(double, shared, kThreads);
  __syncthreads();  // the previous result has been read by everyone
  shared[threadIdx.x] = value;
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half)
      shared[threadIdx.x] = combine(shared[threadIdx.x], shared[threadIdx.x + half]);
  }
  __syncthreads();
  return shared[0];
}

// The exponent of max |x|. NaN is ignored here and comes through the sum; with an Inf the exponent
// does not matter. The clamp keeps 2^-exponent finite: a subnormal maximum times 2^1022 squares
// well.
template <typename T>
__device__ int ExponentOfMax(const Matrices& x, const T* matrix) {
  double largest = 0;
  ForThisThread(x, matrix, [&](double value) { largest = fmax(largest, fabs(value)); });
  largest = AcrossBlock(largest, [](double a, double b) { return fmax(a, b); });
  if (largest == 0 || largest > DBL_MAX) return 0;
  const int exponent = ilogb(largest);
  return exponent < -1022 ? -1022 : exponent;
}

template <typename T>
__global__ void __launch_bounds__(kThreads) FrobeniusNormKernel(Matrices x) {
  for (int64_t b = blockIdx.x; b < x.batch; b += gridDim.x) {
    const T* matrix = MatrixAt<T>(x, b);
    const int exponent = sizeof(T) == sizeof(double) ? ExponentOfMax(x, matrix) : 0;
    const double scale = ldexp(1.0, -exponent);

    double sum = 0;
    ForThisThread(x, matrix, [&](double value) {
      value *= scale;
      sum += value * value;
    });
    sum = AcrossBlock(sum, [](double a, double b) { return a + b; });
    if (threadIdx.x == 0) x.out[b] = ldexp(sqrt(sum), exponent);
  }
}

// Reads a checked tensor's shape into `x`; false if it has too many dimensions.
bool ReadLayout(const ortho_tensor& tensor, Matrices* x) {
  x->batch_dims = tensor.ndim - 2;
  if (x->batch_dims > kMaxBatchDims) return false;
  int64_t contiguous = 1;
  auto stride = [&](int d) {  // called from the last dimension to the first
    const int64_t s = tensor.strides ? tensor.strides[d] : contiguous;
    contiguous *= tensor.shape[d];
    return s;
  };
  x->columns = tensor.shape[tensor.ndim - 1];
  x->column_stride = stride(tensor.ndim - 1);
  x->rows = tensor.shape[tensor.ndim - 2];
  x->row_stride = stride(tensor.ndim - 2);
  x->batch = 1;
  for (int d = x->batch_dims - 1; d >= 0; --d) {
    x->batch_shape[d] = tensor.shape[d];
    x->batch_strides[d] = stride(d);
    x->batch *= tensor.shape[d];
  }
  if (std::abs(x->row_stride) <
      std::abs(x->column_stride)) {  // the norm of a matrix is its transpose's
    std::swap(x->rows, x->columns);
    std::swap(x->row_stride, x->column_stride);
  }
  if (x->columns == 0) {  // an empty matrix has norm 0; keep the divisions by `columns` defined
    x->rows = 0;
    x->columns = 1;
  }
  return true;
}

}  // namespace

ortho_status FrobeniusNorm(const ortho_tensor& tensor, const ortho_tensor& out, void* stream) {
  Matrices x;
  if (!ReadLayout(tensor, &x))
    return Fail(ORTHO_VALUE_ERROR, "%s: x must have at most %d dimensions on a GPU, got %d", kOp,
                kMaxBatchDims + 2, tensor.ndim);
  if (x.batch == 0) return ORTHO_OK;
  x.data = tensor.data;
  x.out = static_cast<double*>(out.data);

  const DeviceGuard guard(tensor.device_id);
  if (guard.error() != cudaSuccess) return Check(kOp, guard.error());
  const dim3 grid(static_cast<unsigned>(x.batch < INT_MAX ? x.batch : INT_MAX)), block(kThreads);
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  if (tensor.dtype.bits == 64)
    ORTHO_LAUNCH(FrobeniusNormKernel<double>, grid, block, 0, cuda_stream, x);
  else if (tensor.dtype.bits == 32)
    ORTHO_LAUNCH(FrobeniusNormKernel<float>, grid, block, 0, cuda_stream, x);
  else if (tensor.dtype.code == ORTHO_DTYPE_BFLOAT)
    ORTHO_LAUNCH(FrobeniusNormKernel<__nv_bfloat16>, grid, block, 0, cuda_stream, x);
  else
    ORTHO_LAUNCH(FrobeniusNormKernel<__half>, grid, block, 0, cuda_stream, x);
  return Check(kOp, cudaGetLastError());
}

}  // namespace ortho::cuda
