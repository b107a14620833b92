// The kernel table in plain loops: what every other row of the table is tested against, and what
// runs on machines that have no row of their own.
#include <cmath>

#include "cpu/convert.h"
#include "cpu/dot_pair.h"
#include "cpu/kernel_table.h"
#include "cpu/sketch_hash.h"
#include "cpu/step_rule.h"

namespace ortho::cpu {
namespace {

constexpr int kVector = 4, kRows = 4, kPanel = 3 * kVector;

template <typename T>
T Accumulate(T sum, T x, T y) {
  return sum + x * y;
}
float Accumulate(float sum, BfloatPair x, BfloatPair y) { return DotPair(sum, x, y); }

template <typename S, typename T>
void Product(int vectors, int64_t rows, int64_t k, const S* a, int64_t a_panel, const S* b, T alpha,
             const T* d, T beta, T* c) {
  const int columns = vectors * kVector;
  for (int64_t tile = 0; tile < rows; tile += kRows) {
    const S* left = a + tile / kPanel * a_panel + tile % kPanel;
    T sum[kRows][kPanel] = {};
    for (int64_t i = 0; i < k; ++i)
      for (int r = 0; r < kRows; ++r)
        for (int j = 0; j < columns; ++j)
          sum[r][j] = Accumulate(sum[r][j], left[i * kPanel + r], b[i * kPanel + j]);
    for (int r = 0; r < kRows; ++r)
      for (int j = 0; j < columns; ++j) {
        const int64_t at = (tile + r) * kPanel + j;
        c[at] = d ? sum[r][j] * alpha + d[at] * beta : sum[r][j] * alpha;
      }
  }
}

template <typename T, typename S>
void LoadTransposed(int64_t rows, int64_t columns, const void* source, int64_t stride, T scale,
                    T* target, int64_t target_stride) {
  const S* from = static_cast<const S*>(source);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < kVector; ++c)
      target[r * target_stride + c] =
          c < columns ? static_cast<T>(Widen(from[c * stride + r])) * scale : T(0);
}

template <typename T>
void Transpose(const T* source, int64_t source_stride, T* target, int64_t target_stride) {
  T block[kVector][kVector];
  for (int r = 0; r < kVector; ++r)
    for (int c = 0; c < kVector; ++c) block[r][c] = source[r * source_stride + c];
  for (int r = 0; r < kVector; ++r)
    for (int c = 0; c < kVector; ++c) target[r * target_stride + c] = block[c][r];
}

template <typename T>
void Mirror(int64_t side, T* a) {
  const auto at = [=](int64_t r, int64_t c) -> T& {
    return a[c / kPanel * kPanel * side + r * kPanel + c % kPanel];
  };
  for (int64_t r = 0; r < side; ++r)
    for (int64_t c = r + 1; c < side; ++c) at(c, r) = at(r, c);
}

template <typename T>
T Cholesky(int n, T* a, T* inverse) {
  for (int r = 0; r < n; ++r)
    for (int c = 0; c < n; ++c) inverse[r * kPanel + c] = r == c;
  T smallest = a[0];
  for (int k = 0; k < n; ++k) {
    const T pivot = a[k * kPanel + k];
    smallest = pivot < smallest ? pivot : smallest;
    if (!(pivot > T(0))) return pivot;
    const T scale = T(1) / std::sqrt(pivot);
    for (int c = 0; c < n; ++c) {
      a[k * kPanel + c] *= scale;
      inverse[k * kPanel + c] *= scale;
    }
    for (int i = k + 1; i < n; ++i) {
      const T factor = a[k * kPanel + i];
      for (int c = 0; c < n; ++c) {
        a[i * kPanel + c] -= factor * a[k * kPanel + c];
        inverse[i * kPanel + c] -= factor * inverse[k * kPanel + c];
      }
    }
  }
  return smallest;
}

template <typename T>
void Combine(int64_t n, T alpha, const T* a, T beta, const T* b, T* c) {
  for (int64_t i = 0; i < n; ++i) c[i] = b ? alpha * a[i] + beta * b[i] : alpha * a[i];
}

template <typename T>
void WeighRows(int vectors, int64_t rows, const T* x, const T* a, T* y) {
  for (int j = 0; j < vectors * kVector; ++j) {
    y[j] = 0;
    for (int64_t r = 0; r < rows; ++r) y[j] += x[r] * a[r * kPanel + j];
  }
}

template <typename T>
double Dot(int64_t n, const T* x, const T* y) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  return sum;
}

template <typename T>
void Rotate(int64_t n, T c, T s, T* x, T* y) {
  for (int64_t i = 0; i < n; ++i) {
    const T p = x[i], q = y[i];
    x[i] = c * p - s * q;
    y[i] = s * p + c * q;
  }
}

// torch.lerp's two forms: each is exact at its own end.
template <typename T>
T Lerp(T from, T to, T weight) {
  return weight < T(0.5) ? from + weight * (to - from) : to + (weight - 1) * (to - from);
}

template <typename T, typename S>
void Step(const StepRule& rule, double scale, int64_t n, const StepArrays& at) {
  const S* from = static_cast<const S*>(at.g);
  S *buffer = static_cast<S*>(at.v), *weight = static_cast<S*>(at.w);
  S* direction = static_cast<S*>(at.direction);
  const T coming = static_cast<T>(rule.coming), momentum = static_cast<T>(rule.momentum);
  for (int64_t i = 0; i < n; ++i) {
    T g = static_cast<T>(Widen(from[i])) * static_cast<T>(scale);
    if (rule.coupled) g += static_cast<T>(rule.decay) * static_cast<T>(Widen(weight[i]));
    if (buffer) {
      T v = static_cast<T>(Widen(buffer[i]));
      v = rule.average ? Lerp(v, g, coming) : coming * g + static_cast<T>(rule.carried) * v;
      buffer[i] = Narrow<S>::From(v);
      if (!rule.nesterov)
        g = v;
      else
        g = rule.average ? Lerp(g, v, momentum) : g + momentum * v;
    }
    if (direction) {
      direction[i] = Narrow<S>::From(g);
      continue;
    }
    T w = static_cast<T>(Widen(weight[i]));
    if (rule.decoupled) w *= static_cast<T>(rule.kept);
    weight[i] = Narrow<S>::From(w - static_cast<T>(rule.lr) * g);
  }
}

template <typename S>
void Sketch(const SketchHash& hash, uint32_t index, int64_t n, const void* elements,
            double* buckets) {
  const S* x = static_cast<const S*>(elements);
  for (int64_t i = 0; i < n; ++i)
    AddToSketch(SketchWord(hash, index + static_cast<uint32_t>(i)), hash.dim,
                static_cast<double>(Widen(x[i])), buckets);
}

template <typename S>
void DotRows(int64_t rows, int64_t n, const void* window, int64_t stride, const void* vector,
             double* sums) {
  const S *row = static_cast<const S*>(window), *g = static_cast<const S*>(vector);
  for (int64_t r = 0; r < rows; ++r, row += stride)
    for (int64_t i = 0; i < n; ++i)
      sums[r] += static_cast<double>(Widen(row[i])) * static_cast<double>(Widen(g[i]));
}

template <typename T>
constexpr Kernels<T> MakeKernels() {
  return {kVector,
          kRows,
          kPanel,
          Product<T, T>,
          Transpose<T>,
          Mirror<T>,
          Cholesky<T>,
          Combine<T>,
          WeighRows<T>,
          Dot<T>,
          Rotate<T>,
          {Load<T, Half>, Load<T, Bfloat>, Load<T, float>, Load<T, double>},
          {LoadTransposed<T, Half>, LoadTransposed<T, Bfloat>, LoadTransposed<T, float>,
           LoadTransposed<T, double>},
          {Store<T, Half>, Store<T, Bfloat>, Store<T, float>, Store<T, double>}};
}

}  // namespace

const KernelTable kReferenceKernels = {
    "reference",
    MakeKernels<float>(),
    MakeKernels<double>(),
    {kVector, kRows, kPanel, Product<BfloatPair, float>, Transpose<BfloatPair>, Interleave,
     RoundToPairs},
    {MaxAbsHalf, MaxAbsBfloat, MaxAbsFloat, MaxAbsDouble},
    {RoundToHalf, RoundToBfloat},
    {Step<float, Half>, Step<float, Bfloat>, Step<float, float>, Step<double, double>},
    {Sketch<Half>, Sketch<Bfloat>, Sketch<float>, Sketch<double>},
    {DotRows<float>, DotRows<Bfloat>}};

}  // namespace ortho::cpu
