// methods "polar_express" and "newton_schulz" for small sides: X <- a X + (b A + c A^2) X with
// A = X X^T on the small side, from X / ||X||_F, in Gram form,
//   R = a I + b G + c G^2,   Q <- R Q,   G <- R G R,   and X <- Q X at the end of a segment.
// What rounding does to G is not undone until G is formed anew from X: a segment is three steps.
//
// One block per matrix. It reads the matrix once for its largest element, then twice a segment, and
// writes it once a segment. All m x m matrices lie in shared memory, in tiles (tile.h), padded with
// zeros to the size class.
//
// Every m x m matrix is a polynomial in G, hence symmetric, and commutes with the others. Of two
// mirrored tiles one is computed: a warp owns tiles (i, i + d), for some row i and d up to half the
// side, round the corner, so that one left operand serves all that it owns.
//
// Bound by the tensor cores for large m; for small m by latency and barriers, seven a step, which
// other blocks on the same multiprocessor fill.
#include <algorithm>
#include <cmath>

#include "cuda/device.h"
#include "cuda/polar.h"
#include "cuda/scalars.h"
#include "cuda/tile.h"

namespace ortho::cuda {
namespace {

constexpr int kSegment = 3;
constexpr unsigned kWholeWarp = ~0u;

// A size class: kSide tiles a side, and how they are spread over warps.
template <int kSide>
struct Shape {
  static constexpr int kSplit = kSide == 2 || kSide == 4 ? 2 : 1;  // warps to a row of tiles
  static constexpr int kWarps = kSide * kSplit;
  static constexpr int kThreads = kWarps * 32;
  static constexpr int kOwned = (kSide / 2 + kSplit) / kSplit;  // tiles, at most
  static constexpr int kMatrixWords = kSide * kSide * kTileWords;
  static constexpr int kSharedBytes = 3 * kMatrixWords * 4;
  // The Gram matrix is summed over panels of that many tiles, staged twice where R and Q will be.
  static constexpr int kPanel = kSide == 1 ? 1 : 2;
  static constexpr int kPanelTiles = kSide * kPanel;
  static constexpr int kStaged = (kPanelTiles + kWarps - 1) / kWarps;  // by one warp, at most
  static_assert(kPanelTiles <= kSide * kSide);
};

// A thread's place in its block, and the three matrices.
template <int kSide>
struct Place : Shape<kSide> {
  using S = Shape<kSide>;
  uint32_t *g, *r, *q;
  int warp, lane, row;

  __device__ explicit Place(uint32_t* shared)
      : g(shared),
        r(shared + S::kMatrixWords),
        q(shared + 2 * S::kMatrixWords),
        warp(static_cast<int>(threadIdx.x) / 32),
        lane(static_cast<int>(threadIdx.x) % 32),
        row(warp % kSide) {}

  // How far right of the diagonal, round the corner, the i-th tile of this warp lies.
  __device__ int Distance(int i) const { return i * S::kSplit + warp / kSide; }
  __device__ int Column(int i) const {
    const int column = row + Distance(i);
    return column < kSide ? column : column - kSide;
  }
  // Half way round both tiles of a pair would be owned.
  __device__ bool Owns(int i) const {
    const int twice = 2 * Distance(i);
    return twice < kSide || (twice == kSide && row < kSide / 2);
  }
  __device__ bool OnDiagonal(int i, int e) const {
    return Distance(i) == 0 && TileRow(lane, e) == TileColumn(lane, e);
  }
  __device__ static uint32_t* At(uint32_t* matrix, int i, int j) {
    return matrix + (i * kSide + j) * kTileWords;
  }
  // An owned tile and its mirror image.
  __device__ void StoreOwned(uint32_t* matrix, int i, Tile tile) const {
    StoreTile(tile, At(matrix, row, Column(i)), lane);
    if (Distance(i) == 0) return;
    TransposeTile(tile);
    StoreTile(tile, At(matrix, Column(i), row), lane);
  }
};

// One value per warp combined, in order, for everybody.
template <int kWarps, typename T, typename Combine>
__device__ T AcrossWarps(T value, T* scratch, Combine combine) {
  for (int flip = 16; flip > 0; flip /= 2)
    value = combine(value, __shfl_xor_sync(kWholeWarp, value, flip));
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  value = scratch[0];
  for (int w = 1; w < kWarps; ++w) value = combine(value, scratch[w]);
  return value;
}

// Calls visit(offset) for this thread's share of x; neighbours in memory go to neighbouring lanes.
template <int kWarps, typename Visit>
__device__ void ForThisThread(const PackedMatrix& x, Visit visit) {
  const bool by_rows = abs(x.columns.step) <= abs(x.rows.step);
  const PackedAxis slow = by_rows ? x.rows : x.columns, fast = by_rows ? x.columns : x.rows;
  const int slow_size = by_rows ? x.m : x.n, fast_size = by_rows ? x.n : x.m;
  for (int i = static_cast<int>(threadIdx.x) / 32; i < slow_size; i += kWarps) {
    const int32_t start = Offset(slow, i);
#pragma unroll 4
    for (int j = static_cast<int>(threadIdx.x) % 32; j < fast_size; j += 32)
      visit(start + Offset(fast, j));
  }
}

template <int kWarps>
__device__ int ExponentOfMax(const PackedMatrix& x) {
  ORTHO_SHARED_ARRAY(int, scratch, kWarps);
  int exponent = kAllZero;
  WithType(x, [&](const auto* data) {
    auto largest = Magnitude(Load(data)) & 0;
    ForThisThread<kWarps>(x, [&](int32_t offset) {
      const auto magnitude = Magnitude(Load(data + offset));
      largest = magnitude > largest ? magnitude : largest;
    });
    exponent = Exponent(largest);
  });
  return AcrossWarps<kWarps>(exponent, scratch, [](int a, int b) { return a > b ? a : b; });
}

template <int kWarps>
__device__ void Fill(const PackedMatrix& out, float value) {
  WithType(out, [&](auto* to) {
    ForThisThread<kWarps>(out, [&](int32_t offset) { Store(value, to + offset); });
  });
}

// This lane's elements of the tile at (row, column) of x 2^-exponent; zeros outside.
__device__ __forceinline__ void Gather(const PackedMatrix& x, int exponent, int row, int column,
                                       float (&values)[8]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  WithType(x, [&](const auto* data) {
#pragma unroll
    for (int e = 0; e < 8; ++e) {
      const int i = row + TileRow(lane, e), j = column + TileColumn(lane, e);
      values[e] = i < x.m && j < x.n
                      ? Scale(Load(data + Offset(x.rows, i) + Offset(x.columns, j)), -exponent)
                      : 0.0f;
    }
  });
}

__device__ __forceinline__ void Scatter(const float (&values)[8], const PackedMatrix& out, int row,
                                        int column) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  WithType(out, [&](auto* to) {
#pragma unroll
    for (int e = 0; e < 8; ++e) {
      const int i = row + TileRow(lane, e), j = column + TileColumn(lane, e);
      if (i < out.m && j < out.n)
        Store(values[e], to + Offset(out.rows, i) + Offset(out.columns, j));
    }
  });
}

__device__ PackedMatrix Transposed(const PackedMatrix& x) {
  return {x.data, x.columns, x.rows, x.n, x.m, x.dtype};
}

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
__global__ void __launch_bounds__(Shape<kSide>::kThreads)
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
