// Momentum, polar factor, scale, decay and weight update, one matrix at a time (ortho.h has the
// formulas). The factor O of a matrix lives in scratch between two passes over it:
//
//   ORTHO_STEP_GRADIENT  O = polar(g)          reads g
//                        v, w from O           reads and writes v and w once
//   ORTHO_STEP_UPDATE    v, O = d from g       reads g, reads and writes v, reads w if decay is
//                                              coupled
//                        O = polar(O), w from O    reads and writes w once
//
// Layout: any strides; scratch holds O with g's contiguous axis innermost. Bound by memory outside
// the polar factor: an element costs a few operations on its way through the first cache.
#include "cpu/orthogonal_step_.h"

#include <algorithm>

#include "cpu/polar.h"
#include "cpu/schedule.h"
#include "cpu/step_rule.h"
#include "cpu/thread_pool.h"

namespace ortho::cpu {
namespace {

constexpr int64_t kChunk = StepChunk<float>::kSize;

bool IsUnit(const Axis& axis) {
  return axis.dim_count == 0 && (axis.stride == 1 || axis.size == 1);
}

// Whether a column is contiguous and a row is not.
bool GoesDown(const Matrix& matrix) { return IsUnit(matrix.rows) && !IsUnit(matrix.columns); }

// `n` elements of a matrix along its inner axis, from element `begin` of line `line` on.
struct Run {
  bool down;  // the inner axis is a column
  int64_t line, begin, n;
};

// visit(address, place in the chunk, how many from there on, their stride) on the pieces of a run
// that one stride describes.
template <typename Visit>
void ForPieces(const Matrix& matrix, const Run& run, const Visit& visit) {
  const int64_t item = ItemSize(matrix.dtype);
  const Axis& outer = run.down ? matrix.columns : matrix.rows;
  const Axis& inner = run.down ? matrix.rows : matrix.columns;
  char* line = matrix.data + outer.Offset(run.line) * item;
  if (inner.dim_count == 0)
    return visit(line + run.begin * inner.stride * item, 0, run.n, inner.stride);
  const Axis::Dim& last = inner.dims[inner.dim_count - 1];
  for (int64_t i = 0; i < run.n;) {
    const int64_t at = run.begin + i, here = std::min(run.n - i, last.size - at % last.size);
    visit(line + inner.Offset(at) * item, i, here, last.stride);
    i += here;
  }
}

// Between memory and a chunk of T, by the vectors of the instruction set; without a copy where
// memory holds T in a row already.
template <typename T>
T* InPlace(const Matrix& matrix, const Run& run) {
  const Axis& inner = run.down ? matrix.rows : matrix.columns;
  const Axis& outer = run.down ? matrix.columns : matrix.rows;
  if (ItemSize(matrix.dtype) != sizeof(T) || !IsUnit(inner)) return nullptr;
  return reinterpret_cast<T*>(matrix.data) + outer.Offset(run.line) + run.begin;
}

template <typename T>
const T* LoadRun(const Kernels<T>& kernels, const Matrix& from, const Run& run, T* room, T times) {
  const T* in_place = times == 1 ? InPlace<T>(from, run) : nullptr;
  if (in_place) return in_place;
  const auto load = kernels.load[static_cast<int>(from.dtype)];
  ForPieces(from, run, [&](const char* x, int64_t i, int64_t n, int64_t stride) {
    if (stride == 1)
      load(1, n, x, n, times, room + i, n);
    else
      load(n, 1, x, stride, times, room + i, 1);
  });
  return room;
}

template <typename T>
void StoreRun(const Kernels<T>& kernels, const T* from, const Run& run, const Matrix& to) {
  if (from == InPlace<T>(to, run)) return;
  const auto store = kernels.store[static_cast<int>(to.dtype)];
  ForPieces(to, run, [&](char* x, int64_t i, int64_t n, int64_t stride) {
    if (stride == 1)
      store(1, n, from + i, n, x, n);
    else
      store(n, 1, from + i, 1, x, stride);
  });
}

// body(run) on every piece of a matrix, in lines along the scratch's contiguous axis.
template <typename Body>
void ForChunks(const Matrix& like, const Body& body) {
  const bool down = GoesDown(like);
  const int64_t lines = down ? like.columns.size : like.rows.size;
  const int64_t length = down ? like.rows.size : like.columns.size;
  SplitLoop(lines, static_cast<double>(lines * length), [&](int64_t line) {
    for (int64_t begin = 0; begin < length; begin += kChunk)
      body(Run{down, line, begin, std::min(kChunk, length - begin)});
  });
}

// Contiguous in scratch, along the axis that is contiguous in `like`.
Matrix ScratchLike(const Matrix& like, Scratch& scratch) {
  Matrix matrix;
  matrix.data = scratch.Take<char>(Bytes(like));
  matrix.dtype = like.dtype;
  matrix.rows.size = like.rows.size;
  matrix.columns.size = like.columns.size;
  const bool down = GoesDown(like);
  matrix.rows.stride = down ? 1 : like.columns.size;
  matrix.columns.stride = down ? like.rows.size : 1;
  return matrix;
}

// T computes, whatever is stored.
template <typename T>
class Step {
 public:
  Step(const KernelTable& table, const ortho_step_options& options)
      : table_(table),
        options_(options),
        rule_(table, options),
        sign_(options.maximize ? T(-1) : T(1)) {}

  void operator()(const StepTask& task, Scratch& scratch) const {
    const Matrix factor = ScratchLike(task.g, scratch);
    if (options_.placement == ORTHO_STEP_UPDATE) {
      if (!scratch.measuring()) Remember(task, factor);
      PolarMatrix(table_, options_.polar, {factor, factor}, scratch);
      if (!scratch.measuring()) Update(task, factor);
      return;
    }
    StoredMatrix ignored;
    const bool direct = AsStored(task.g, &ignored);
    if (!direct && !scratch.measuring()) {
      ForChunks(factor, [&](const Run& run) {
        T room[kChunk];
        Store(Load(task.g, run, room), run, factor);
      });
    }
    PolarMatrix(table_, options_.polar, {direct ? task.g : factor, factor}, scratch);
    if (!scratch.measuring()) RememberAndUpdate(task, factor);
  }

 private:
  const T* Load(const Matrix& from, const Run& run, T* room, T times = 1) const {
    return LoadRun(KernelsFor<T>(table_), from, run, room, times);
  }
  void Store(const T* from, const Run& run, const Matrix& to) const {
    StoreRun(KernelsFor<T>(table_), from, run, to);
  }
  // Where a result may be made, to be stored in `to`.
  static T* Room(const Matrix& to, const Run& run, T* room) {
    T* in_place = InPlace<T>(to, run);
    return in_place ? in_place : room;
  }

  // v from g, and the direction.
  void Remember(const StepTask& task, const Matrix& direction) const {
    ForChunks(direction, [&](const Run& run) {
      StepChunk<T> chunk;
      chunk.g = Load(task.g, run, chunk.room[0], sign_);
      if (rule_.coupled()) chunk.w = Load(task.w, run, chunk.room[1]);
      Store(Direct(task, run, chunk), run, direction);
    });
  }

  // w from the factor of the direction.
  void Update(const StepTask& task, const Matrix& factor) const {
    ForChunks(factor, [&](const Run& run) {
      StepChunk<T> chunk;
      const T* d = Load(factor, run, chunk.room[0], static_cast<T>(task.scale));
      Move(task, run, d, chunk);
    });
  }

  // v and w from the factor of the gradient.
  void RememberAndUpdate(const StepTask& task, const Matrix& factor) const {
    ForChunks(factor, [&](const Run& run) {
      StepChunk<T> chunk;
      chunk.g = Load(factor, run, chunk.room[0], sign_ * static_cast<T>(task.scale));
      if (rule_.coupled()) chunk.w = Load(task.w, run, chunk.room[1]);
      Move(task, run, Direct(task, run, chunk), chunk);
    });
  }

  const T* Direct(const StepTask& task, const Run& run, StepChunk<T>& chunk) const {
    const bool buffered = task.v.data != nullptr;
    if (buffered && !task.fresh) chunk.v = Load(task.v, run, chunk.room[2]);
    if (buffered) chunk.buffer = Room(task.v, run, chunk.room[3]);
    const T* direction = rule_.Direct(run.n, buffered, task.fresh, chunk);
    if (buffered) Store(chunk.buffer, run, task.v);
    return direction;
  }

  void Move(const StepTask& task, const Run& run, const T* d, StepChunk<T>& chunk) const {
    chunk.w = Load(task.w, run, chunk.room[1]);
    chunk.moved = Room(task.w, run, chunk.room[4]);
    rule_.Move(run.n, d, chunk);
    Store(chunk.moved, run, task.w);
  }

  const KernelTable& table_;
  const ortho_step_options& options_;
  const StepRule<T> rule_;
  const T sign_;
};

void StepMatrix(const KernelTable& table, const ortho_step_options& options, const StepTask& task,
                Scratch& scratch) {
  if (task.g.dtype == Dtype::kFloat64)
    Step<double>(table, options)(task, scratch);
  else
    Step<float>(table, options)(task, scratch);
}

CostOf CostIn(const std::vector<StepTask>& tasks) {
  return [&tasks](size_t i) { return PolarCost(tasks[i].g); };
}

size_t ScratchPerThread(const KernelTable& table, const ortho_step_options& options,
                        const std::vector<StepTask>& tasks) {
  size_t most = 0;
  for (const StepTask& task : tasks) {
    Scratch measure;
    StepMatrix(table, options, task, measure);
    most = std::max(most, measure.peak());
  }
  return most;  // a sum of aligned pieces
}

}  // namespace

size_t StepWorkspace(const KernelTable& table, const ortho_step_options& options,
                     const std::vector<StepTask>& tasks) {
  return ScheduleWorkspace(tasks.size(), CostIn(tasks), ScratchPerThread(table, options, tasks));
}

bool StepAll(const KernelTable& table, const ortho_step_options& options,
             const std::vector<StepTask>& tasks, void* workspace, size_t workspace_bytes) {
  return Schedule(tasks.size(), CostIn(tasks), ScratchPerThread(table, options, tasks), workspace,
                  workspace_bytes, [&](size_t i, Scratch& scratch) {
                    StepMatrix(table, options, tasks[i], scratch);
                  });
}

}  // namespace ortho::cpu
