// methods "polar_express" and "newton_schulz" for small sides: X <- a X + (b A + c A^2) X with
// A = X X^T on the small side, from X / ||X||_F, in Gram form,
//   R = a I + b G + c G^2,   Q <- R Q,   G <- R G R,   and X <- Q X at the end of a segment.
// What rounding does to G is not undone until G is formed anew from X: a segment is three steps.
//
// One block per matrix. It reads the matrix once for its largest element, then twice a segment, and
// writes it once a segment. G, R and Q lie in shared memory (symmetric.h): each is a polynomial in
// G, hence symmetric, and commutes with the others.
//
// Bound by the tensor cores for large m; for small m by latency and barriers, seven a step, which
// other blocks on the same multiprocessor fill.
#include <algorithm>
#include <cmath>

#include "cuda/block.h"
#include "cuda/device.h"
#include "cuda/polar.h"
#include "cuda/symmetric.h"

namespace ortho::cuda {
namespace {

constexpr int kSegment = 3;

// Where the matrix lies between two segments.
__device__ PackedMatrix Iterate(const PolarProblem& problem) {
  if (problem.iterate == problem.out.data) return problem.out;
  const int m = problem.out.m, n = problem.out.n;
  return {problem.iterate, {n}, {1}, m, n, Dtype::kFloat32};
}

// The owned tiles of X X^T. Tensor cores round their sums towards zero, always the same way; so
// they add no more than kFold panels before a float32 sum, rounded to nearest, takes over.
template <int kSide>
__device__ void Gram(const Place<kSide>& place, const PackedMatrix& x, int exponent,
                     float (&gram)[Shape<kSide>::kOwned][8]) {
  using S = Shape<kSide>;
  constexpr int kFold = 16;
  const int panels = (x.n + S::kPanel * kTile - 1) / (S::kPanel * kTile);
  float fetched[S::kStaged][8];
  const auto fetch = [&](int panel) {
#pragma unroll
    for (int s = 0; s < S::kStaged; ++s) {
      const int tile = place.warp + s * S::kWarps;
      if (tile < S::kPanelTiles)
        Gather(x, exponent, tile % kSide * kTile, (panel * S::kPanel + tile / kSide) * kTile,
               fetched[s]);
    }
  };
  TileSum sums[S::kOwned];
#pragma unroll
  for (int i = 0; i < S::kOwned; ++i)
    for (int e = 0; e < 8; ++e) gram[i][e] = 0;

  fetch(0);
#pragma unroll 1
  for (int panel = 0; panel < panels; ++panel) {
    uint32_t* stage = place.r + panel % 2 * S::kPanelTiles * kTileWords;
#pragma unroll
    for (int s = 0; s < S::kStaged; ++s) {
      const int tile = place.warp + s * S::kWarps;
      if (tile < S::kPanelTiles)
        StoreTile(Split(fetched[s]), stage + tile * kTileWords, place.lane);
    }
    __syncthreads();  // and nobody is still at the panel before the last, which this one overwrites
    if (panel + 1 < panels) fetch(panel + 1);  // on its way while the products run
#pragma unroll
    for (int k = 0; k < S::kPanel; ++k) {
      const uint32_t* column = stage + k * kSide * kTileWords;
      const Tile left = LoadTile(column + place.row * kTileWords, place.lane);
#pragma unroll
      for (int i = 0; i < S::kOwned; ++i)
        if (place.Owns(i))
          sums[i].Add(left, LoadTile(column + place.Column(i) * kTileWords, place.lane));
    }
    if (panel % kFold == kFold - 1 || panel == panels - 1) {
#pragma unroll
      for (int i = 0; i < S::kOwned; ++i) {
#pragma unroll
        for (int e = 0; e < 8; ++e) gram[i][e] += sums[i][e];
        sums[i] = TileSum();
      }
    }
  }
}

// G, of X / ||X||_F if that is asked for, and what X is to be multiplied by: G's trace is
// ||X||_F^2.
template <int kSide>
__device__ float StartSegment(const Place<kSide>& place, const PackedMatrix& x, int exponent,
                              bool normalize) {
  using S = Shape<kSide>;
  ORTHO_SHARED_ARRAY(float, scratch, S::kWarps);
  float gram[S::kOwned][8];
  Gram(place, x, exponent, gram);
  float factor = 1;
  if (normalize) {
    float trace = 0;
    for (int e = 0; e < 8; ++e)
      if (place.OnDiagonal(0, e)) trace += gram[0][e];
    trace = AcrossWarps<S::kWarps>(trace, scratch, [](float a, float b) { return a + b; });
    factor = 1 / sqrtf(trace);
  }
#pragma unroll
  for (int i = 0; i < S::kOwned; ++i) {
    if (!place.Owns(i)) continue;
#pragma unroll
    for (int e = 0; e < 8; ++e) gram[i][e] *= factor * factor;
    place.StoreOwned(place.g, i, Split(gram[i]));
  }
  __syncthreads();
  return factor;
}

// Steps [begin, end): Q becomes the product of their R. One loop for all products, since each copy
// of its body would be thousands of instructions.
template <int kSide>
__device__ void Steps(const Place<kSide>& place, const PolarTable& table, int begin, int end) {
  using S = Shape<kSide>;
  enum { kSquare, kCollect, kAdvance, kFinish };  // G G;  Q <- R Q;  G <- R G;  G <- G R
  uint32_t *const g = place.g, *const r = place.r, *const q = place.q;
#pragma unroll 1
  for (int product = 4 * begin; product < 4 * end; ++product) {
    const int step = product / 4, kind = product % 4;
    const bool first = step == begin, last = step + 1 == end;
    if ((kind == kCollect && first) || (kind >= kAdvance && last)) continue;
    uint32_t* const left = kind == kSquare || kind == kFinish ? g : r;
    uint32_t* const right = kind == kSquare || kind == kAdvance ? g : kind == kCollect ? q : r;
    TileSum sums[S::kOwned];
#pragma unroll 1
    for (int k = 0; k < kSide; ++k) {
      const Tile a = LoadTile(place.At(left, place.row, k), place.lane);
#pragma unroll
      for (int i = 0; i < S::kOwned; ++i)
        if (place.Owns(i))
          sums[i].Add(a, LoadTile(place.At(right, place.Column(i), k), place.lane));
    }
    if (kind != kSquare) __syncthreads();  // everybody has read what is overwritten now
#pragma unroll
    for (int i = 0; i < S::kOwned; ++i) {
      if (!place.Owns(i)) continue;
      float values[8];
#pragma unroll
      for (int e = 0; e < 8; ++e) values[e] = sums[i][e];
      if (kind == kSquare) {
        const float a = table.coefficients[step][0], b = table.coefficients[step][1],
                    c = table.coefficients[step][2];
        float own[8];
        Join(LoadTile(place.At(g, place.row, place.Column(i)), place.lane), own);
#pragma unroll
        for (int e = 0; e < 8; ++e)
          values[e] = c * values[e] + b * own[e] + (place.OnDiagonal(i, e) ? a : 0);
      }
      const Tile tile = Split(values);
      place.StoreOwned(kind == kSquare ? r : kind == kCollect ? q : g, i, tile);
      if (kind == kSquare && first) place.StoreOwned(q, i, tile);
    }
    __syncthreads();
  }
}

// out = factor Q x, which may be the same memory: a warp reads whole columns before it writes them.
template <int kSide>
__device__ void Apply(const Place<kSide>& place, const PackedMatrix& x, int exponent, float factor,
                      const PackedMatrix& out) {
  const PackedMatrix by_columns = Transposed(x);
#pragma unroll 1
  for (int column = place.warp * kTile; column < x.n; column += Shape<kSide>::kWarps * kTile) {
    Tile columns[kSide];
#pragma unroll
    for (int k = 0; k < kSide; ++k) {
      float values[8];
      Gather(by_columns, exponent, column, k * kTile, values);
      columns[k] = Split(values);
    }
    __syncwarp();
#pragma unroll 1
    for (int i = 0; i * kTile < x.m; ++i) {
      TileSum sum;
#pragma unroll
      for (int k = 0; k < kSide; ++k)
        sum.Add(LoadTile(place.At(place.q, i, k), place.lane), columns[k]);
      float values[8];
#pragma unroll
      for (int e = 0; e < 8; ++e) values[e] = sum[e] * factor;
      Scatter(values, out, i * kTile, column);
    }
  }
}

template <int kSide>
__global__ void __launch_bounds__(Shape<kSide>::kThreads, Shape<kSide>::kResident)
    PolynomialKernel(ORTHO_GRID_CONSTANT(PolarTable) table) {
  ORTHO_DYNAMIC_SHARED(uint32_t, shared);
  const Place<kSide> place(shared);
  const PolarProblem& problem = table.problems[blockIdx.x];
  PackedMatrix x = problem.x;
  int exponent = ExponentOfMax<Shape<kSide>::kWarps>(x);
  if (exponent == kAllZero || exponent == kNotFinite)
    return Fill<Shape<kSide>::kWarps>(problem.out, exponent == kAllZero ? 0.0f : NAN);
#pragma unroll 1
  for (int begin = 0; begin < table.steps; begin += kSegment) {
    const int end = min(begin + kSegment, table.steps);
    const float factor = StartSegment(place, x, exponent, begin == 0);
    Steps(place, table, begin, end);
    Apply(place, x, exponent, factor, end == table.steps ? problem.out : Iterate(problem));
    __syncthreads();  // the iterate is there, and R and Q are free
    x = Iterate(problem);
    exponent = 0;
  }
}

template <int kSide>
cudaError_t Launch(const PolarTable& table, unsigned count, cudaStream_t stream) {
  using S = Shape<kSide>;
  const cudaError_t error =
      cudaFuncSetAttribute(reinterpret_cast<const void*>(PolynomialKernel<kSide>),
                           cudaFuncAttributeMaxDynamicSharedMemorySize, S::kSharedBytes);
  if (error != cudaSuccess) return error;
  ORTHO_LAUNCH(PolynomialKernel<kSide>, dim3(count), dim3(S::kThreads), S::kSharedBytes, stream,
               table);
  return cudaGetLastError();
}

struct SizeClass {
  int side, shared_bytes;
  cudaError_t (*launch)(const PolarTable&, unsigned, cudaStream_t);
};
template <int kSide>
constexpr SizeClass kClass = {kSide, Shape<kSide>::kSharedBytes, Launch<kSide>};
constexpr SizeClass kClasses[] = {kClass<1>, kClass<2>, kClass<4>, kClass<6>, kClass<8>};

}  // namespace

ortho_status PolynomialLimit(const char* op, int device, int* side) {
  int available = 0;
  const cudaError_t error =
      cudaDeviceGetAttribute(&available, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  if (error != cudaSuccess) return Check(op, error);
  constexpr int kScratchBytes = 1024;  // for the static arrays, and more
  *side = 0;
  for (const SizeClass& size_class : kClasses)
    if (size_class.shared_bytes + kScratchBytes <= available) *side = size_class.side * kTile;
  return ORTHO_OK;
}

bool PolynomialIterates(const ortho_polar_options& options) { return options.steps > kSegment; }

ortho_status PolynomialPolar(const char* op, const ortho_polar_options& options, int device,
                             std::vector<PolarProblem> problems, void* stream) {
  const DeviceGuard guard(device);
  if (guard.error() != cudaSuccess) return Check(op, guard.error());
  // The longest first, so that no block is left alone at the end.
  std::stable_sort(problems.begin(), problems.end(),
                   [](const PolarProblem& a, const PolarProblem& b) { return a.x.n > b.x.n; });

  PolarTable table;
  table.steps = static_cast<int32_t>(options.steps);
  for (int64_t i = 0; i < 3 * options.steps; ++i)
    table.coefficients[i / 3][i % 3] = static_cast<float>(options.coefficients[i]);
  int smaller = 0;
  for (const SizeClass& size_class : kClasses) {
    unsigned count = 0;
    const auto flush = [&] {
      const cudaError_t error =
          count == 0 ? cudaSuccess
                     : size_class.launch(table, count, static_cast<cudaStream_t>(stream));
      count = 0;
      return Check(op, error);
    };
    for (const PolarProblem& problem : problems) {
      const int side = (problem.x.m + kTile - 1) / kTile;
      if (side <= smaller || side > size_class.side) continue;
      table.problems[count++] = problem;
      if (count == PolarTable::kCapacity)
        if (const ortho_status status = flush()) return status;
    }
    if (const ortho_status status = flush()) return status;
    smaller = size_class.side;
  }
  return ORTHO_OK;
}

}  // namespace ortho::cuda
