// Whether every number of a list of tensors is finite: one read, bound by memory.
//
// Each tensor is read in the order of its memory, whatever that of its dimensions: a transposed or
// channels_last one is one run of contiguous numbers too. Long runs are cut into pieces, which the
// threads share; a bad number seen by one lets the others skip what is left.
#include "cpu/all_finite.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "core/status.h"
#include "cpu/isa.h"
#include "cpu/thread_pool.h"

namespace ortho::cpu {
namespace {

constexpr int64_t kPiece = 1 << 16;           // numbers: some microseconds of work
constexpr int64_t kWorthSplitting = 1 << 20;  // numbers: below, waking threads costs more

using MaxAbs = double (*)(int64_t, const void*);

// A tensor as `places` of runs of `length` numbers that lie `stride` apart.
struct Runs {
  const char* data;
  MaxAbs max_abs;
  int64_t item;
  int64_t length, stride;
  Axis places;
};

// Dimensions in the order of memory, outermost first, neighbours merged; a number that several
// indices name is read once.
Runs RunsOf(const KernelTable& table, const ortho_tensor& tensor) {
  const bool is_complex = tensor.dtype.code == ORTHO_DTYPE_COMPLEX;
  ortho_dtype real = tensor.dtype;
  if (is_complex) real = {ORTHO_DTYPE_FLOAT, static_cast<uint8_t>(real.bits / 2), 1};
  const int64_t per = is_complex ? 2 : 1;  // numbers of an element

  Axis::Dim dims[Axis::kMaxDims + 1];  // by stride, the largest first
  int count = 0;
  const auto insert = [&](Axis::Dim dim) {
    int at = count++;
    for (; at > 0 && dims[at - 1].stride < dim.stride; --at) dims[at] = dims[at - 1];
    dims[at] = dim;
  };
  int64_t offset = 0, next = 1;
  for (int32_t d = tensor.ndim; d-- > 0;) {
    const int64_t size = tensor.shape[d], stride = tensor.strides ? tensor.strides[d] : next;
    next *= size;
    if (size == 1 || stride == 0) continue;
    if (stride < 0) offset += (size - 1) * stride * per;
    insert({size, std::abs(stride) * per});
  }
  if (is_complex) insert({2, 1});

  int merged = 0;
  for (int d = 0; d < count; ++d) {
    if (merged > 0 && dims[merged - 1].stride == dims[d].stride * dims[d].size)
      dims[merged - 1] = {dims[merged - 1].size * dims[d].size, dims[d].stride};
    else
      dims[merged++] = dims[d];
  }
  const Axis::Dim inner = merged > 0 ? dims[--merged] : Axis::Dim{1, 1};
  Axis places;
  places.size = 1;
  for (places.dim_count = 0; places.dim_count < merged; ++places.dim_count) {
    places.dims[places.dim_count] = dims[places.dim_count];
    places.size *= dims[places.dim_count].size;
  }
  const Dtype dtype = KernelDtype(real);
  const int64_t item = ItemSize(dtype);
  return {static_cast<const char*>(tensor.data) + offset * item,
          table.max_abs[static_cast<int>(dtype)],
          item,
          inner.size,
          inner.stride,
          places};
}

bool IsFinite(const Runs& runs, int64_t place, int64_t begin, int64_t end) {
  const char* at = runs.data + (runs.places.Offset(place) + begin * runs.stride) * runs.item;
  if (runs.stride == 1) return std::isfinite(runs.max_abs(end - begin, at));
  for (int64_t i = begin; i < end; ++i, at += runs.stride * runs.item)
    if (!std::isfinite(runs.max_abs(1, at))) return false;
  return true;
}

bool IsFinite(const Runs& runs) {
  for (int64_t place = 0; place < runs.places.size; ++place)
    if (!IsFinite(runs, place, 0, runs.length)) return false;
  return true;
}

// A part of a run, or several whole ones.
struct Piece {
  size_t tensor;
  int64_t first_place, end_place, begin, end;
};

void CutInto(std::vector<Piece>* pieces, size_t tensor, const Runs& runs) {
  const int64_t at_once = std::max<int64_t>(1, kPiece / runs.length);
  for (int64_t place = 0; place < runs.places.size; place += at_once)
    for (int64_t begin = 0; begin < runs.length; begin += kPiece)
      pieces->push_back({tensor, place, std::min(place + at_once, runs.places.size), begin,
                         std::min(begin + kPiece, runs.length)});
}

bool OnThreads(const std::vector<Runs>& all) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < all.size(); ++i) CutInto(&pieces, i, all[i]);
  std::atomic<bool> finite{true};
  const auto look = [&](int64_t i, int) {
    const Piece& piece = pieces[static_cast<size_t>(i)];
    for (int64_t place = piece.first_place; place < piece.end_place; ++place) {
      if (!finite.load(std::memory_order_relaxed)) return;
      if (!IsFinite(all[piece.tensor], place, piece.begin, piece.end)) finite = false;
    }
  };
  ParallelFor(static_cast<int64_t>(pieces.size()), NumThreads(), look);
  return finite;
}

}  // namespace

ortho_status AllFinite(const ortho_tensor* tensors, int64_t count, bool* finite) {
  const char* reason = nullptr;
  const KernelTable* table = ActiveKernels(&reason);
  if (table == nullptr) return Fail(ORTHO_RUNTIME_ERROR, "all_finite: %s", reason);
  int64_t numbers = 0;
  std::vector<Runs> all;
  all.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const ortho_tensor& tensor = tensors[i];
    if (std::find(tensor.shape, tensor.shape + tensor.ndim, 0) != tensor.shape + tensor.ndim)
      continue;
    all.push_back(RunsOf(*table, tensor));
    numbers += all.back().length * all.back().places.size;
  }
  if (NumThreads() > 1 && numbers >= kWorthSplitting)
    *finite = OnThreads(all);
  else
    *finite = std::all_of(all.begin(), all.end(), [](const Runs& runs) { return IsFinite(runs); });
  return ORTHO_OK;
}

}  // namespace ortho::cpu
