#include "cuda/ptx/async_copy.h"
#include "cuda/ptx/matrix.h"
#include "emulation_mistakes.h"

namespace ortho::test {
namespace {

using namespace cuda::ptx;

constexpr unsigned kAll = ~0u;
constexpr int kWarps = kThreads / 32;

__global__ void SumKernel(Mistake mistake, const float* x, float* out, int n,
                          ORTHO_GRID_CONSTANT(float) scale) {
  ORTHO_SHARED_ARRAY(float, partial, kWarps);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  float sum = 0;
  const int end = mistake == Mistake::kGlobalOverrun ? n + 1 : n;
  for (int i = static_cast<int>(blockIdx.x) * kThreads + thread; i < end;
       i += static_cast<int>(gridDim.x) * kThreads)
    sum += scale * x[i];
  if (mistake == Mistake::kLaneGone && lane == 31) return;
  if (mistake == Mistake::kCollectivesApart && lane == 7) __ballot_sync(kAll, 1);
  for (int flip = 16; flip > 0; flip /= 2) sum += __shfl_xor_sync(kAll, sum, flip);
  if (mistake == Mistake::kLaneNotInMask && lane < 16) __shfl_xor_sync(0xFFFFu, sum, 16);
  if (lane == 0 && !(mistake == Mistake::kSharedUnwritten && thread != 0))
    partial[thread / 32 + (mistake == Mistake::kSharedOverrun)] = sum;
  if (mistake == Mistake::kBarrierInBranch) {
    if (thread < 32) __syncthreads();
  } else if (mistake == Mistake::kBarriersApart) {
    if (thread < 32)
      __syncthreads();
    else
      __syncthreads();
  } else if (mistake != Mistake::kBarrierLeftOut) {
    __syncthreads();
  }
  if (mistake == Mistake::kParameterWritten) const_cast<float&>(scale) = 2;
  if (thread != 0) return;
  sum = 0;
  for (int w = 0; w < kWarps; ++w) sum += partial[w];
  if (mistake == Mistake::kBlocksCollide)
    *out += sum;
  else
    atomicAdd(out, sum);
}

__global__ void RotateKernel(Mistake mistake, const float* x, float* out) {
  ORTHO_DYNAMIC_SHARED(float, shared);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const bool past = mistake == Mistake::kDynamicOverrun && thread == kThreads - 1;
  shared[thread + past] = x[thread];
  if (mistake != Mistake::kWarpBarrierLeftOut) __syncwarp();
  out[thread] = shared[warp * 32 + (lane + 1) % 32];
  if (mistake == Mistake::kMisaligned)
    out[thread] = static_cast<float>(*reinterpret_cast<const double*>(shared + warp * 32 + 1));
}

__global__ void StreamKernel(Mistake mistake, const float* x, float* out, int tiles) {
  constexpr int kTile = kThreads * 4;
  ORTHO_SHARED_ARRAY(float4, stages, 2 * kThreads);
  const int thread = static_cast<int>(threadIdx.x);
  const auto start = [&](int tile) {
    if (tile < tiles)
      CopyAsync16(stages + tile % 2 * kThreads + thread, x + tile * kTile + thread * 4);
    CommitCopies();
  };
  start(0);
  float4 sum = {};
  for (int tile = 0; tile < tiles; ++tile) {
    start(tile + 1);
    if (mistake == Mistake::kWaitTooShort)
      AwaitCopies<2>();
    else if (mistake != Mistake::kWaitLeftOut)
      AwaitCopies<1>();
    if (mistake != Mistake::kWaitIsNoBarrier) __syncthreads();
    const float4 here = stages[tile % 2 * kThreads + kThreads - 1 - thread];
    sum = make_float4(sum.x + here.w, sum.y + here.z, sum.z + here.y, sum.w + here.x);
    if (mistake != Mistake::kCopiedTooSoon) __syncthreads();
  }
  reinterpret_cast<float4*>(out)[thread] = sum;
}

__global__ void MultiplyHalvesKernel(const uint16_t* a, const uint16_t* b, float* d) {
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  const auto pair = [](uint16_t low, uint16_t high) { return low | uint32_t{high} << 16; };
  uint32_t fragment[4], other[2];
  for (int r = 0; r < 4; ++r) {
    const uint16_t* at = a + (g + r % 2 * 8) * 16 + t * 2 + r / 2 * 8;
    fragment[r] = pair(at[0], at[1]);
  }
  for (int r = 0; r < 2; ++r) {
    const uint16_t* at = b + (t * 2 + r * 8) * 8 + g;
    other[r] = pair(at[0], at[8]);
  }
  float sums[4] = {};
  MultiplyF16(sums, fragment, other[0], other[1]);
  for (int v = 0; v < 4; ++v) d[(g + v / 2 * 8) * 8 + t * 2 + v % 2] = sums[v];
}

__global__ void MultiplyDoublesKernel(const double* a, const double* b, double* d) {
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  double sums[2] = {};
  MultiplyF64(sums, a[g * 4 + t], b[t * 8 + g]);
  d[g * 8 + t * 2] = sums[0];
  d[g * 8 + t * 2 + 1] = sums[1];
}

__global__ void TransposeTilesKernel(const uint4* x, uint32_t* by_movmatrix,
                                     uint32_t* by_ldmatrix) {
  ORTHO_SHARED_ARRAY(uint4, rows, 32);
  const int lane = static_cast<int>(threadIdx.x);
  rows[lane] = x[lane];
  __syncwarp();
  uint32_t straight[4], transposed[4];
  LoadMatrices(straight, rows + lane);
  LoadMatricesTransposed(transposed, rows + lane);
  for (int i = 0; i < 4; ++i) {
    by_movmatrix[i * 32 + lane] = Transpose(straight[i]);
    by_ldmatrix[i * 32 + lane] = transposed[i];
  }
}

}  // namespace

void Sum(Mistake mistake, const float* x, float* out, int n, int blocks) {
  ORTHO_LAUNCH(SumKernel, dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, cudaStream_t{},
               mistake, x, out, n, 1.0f);
}
void Rotate(Mistake mistake, const float* x, float* out) {
  ORTHO_LAUNCH(RotateKernel, dim3(1), dim3(kThreads), kThreads * sizeof(float), cudaStream_t{},
               mistake, x, out);
}
void Stream(Mistake mistake, const float* x, float* out, int tiles) {
  ORTHO_LAUNCH(StreamKernel, dim3(1), dim3(kThreads), 0, cudaStream_t{}, mistake, x, out, tiles);
}

void MultiplyHalves(const void* a, const void* b, float* d) {
  ORTHO_LAUNCH(MultiplyHalvesKernel, dim3(1), dim3(32), 0, cudaStream_t{},
               static_cast<const uint16_t*>(a), static_cast<const uint16_t*>(b), d);
}
void MultiplyDoubles(const double* a, const double* b, double* d) {
  ORTHO_LAUNCH(MultiplyDoublesKernel, dim3(1), dim3(32), 0, cudaStream_t{}, a, b, d);
}
void TransposeTiles(const void* x, void* by_movmatrix, void* by_ldmatrix) {
  ORTHO_LAUNCH(TransposeTilesKernel, dim3(1), dim3(32), 0, cudaStream_t{},
               static_cast<const uint4*>(x), static_cast<uint32_t*>(by_movmatrix),
               static_cast<uint32_t*>(by_ldmatrix));
}

}  // namespace ortho::test
