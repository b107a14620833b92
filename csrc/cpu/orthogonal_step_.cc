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

#include "cpu/convert.h"
#include "cpu/polar.h"
#include "cpu/schedule.h"
#include "cpu/step_rule.h"
#include "cpu/thread_pool.h"

namespace ortho::cpu {
namespace {

constexpr int64_t kChunk = 256;

bool IsUnit(const Axis& axis) {
  return axis.dim_count == 0 && (axis.stride == 1 || axis.size == 1);
}

// Whether a column is contiguous and a row is not.
bool GoesDown(const Matrix& matrix) { return IsUnit(matrix.rows) && !IsUnit(matrix.columns); }

// `n` elements of a matrix along its inner axis, from element `begin` of line `line` on.
struct Run {
  bool down;  // the inner axis is a column
  int64_t line, begin, n;

  template <typename S>
  S* At(const Matrix& matrix) const {
    const Axis& outer = down ? matrix.columns : matrix.rows;
    return reinterpret_cast<S*>(matrix.data) + outer.Offset(line);
  }
  const Axis& Inner(const Matrix& matrix) const { return down ? matrix.rows : matrix.columns; }
};

// visit(element of the matrix, its place in the chunk), the usual strides told apart for the
// compiler's sake.
template <typename S, typename Visit>
void ForRun(const Matrix& matrix, const Run& run, const Visit& visit) {
  S* line = run.At<S>(matrix);
  const Axis& axis = run.Inner(matrix);
  if (axis.dim_count > 0) {
    for (int64_t i = 0; i < run.n; ++i) visit(line[axis.Offset(run.begin + i)], i);
  } else if (axis.stride == 1) {
    for (int64_t i = 0; i < run.n; ++i) visit(line[run.begin + i], i);
  } else {
    for (int64_t i = 0; i < run.n; ++i) visit(line[(run.begin + i) * axis.stride], i);
  }
}

template <typename S, typename T>
void LoadRun(const Matrix& from, const Run& run, T* to, T times = 1) {
  ForRun<S>(from, run, [&](const S& x, int64_t i) { to[i] = static_cast<T>(Widen(x)) * times; });
}

template <typename S, typename T>
void StoreRun(const T* from, const Run& run, const Matrix& to) {
  ForRun<S>(to, run, [&](S& x, int64_t i) { x = Narrow<S>::From(from[i]); });
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

// T computes, S stores.
template <typename T, typename S>
class Step {
 public:
  Step(const KernelTable& table, const ortho_step_options& options)
      : table_(table), options_(options), rule_(options), sign_(options.maximize ? T(-1) : T(1)) {}

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
        T x[kChunk];
        LoadRun<S>(task.g, run, x);
        StoreRun<S>(x, run, factor);
      });
    }
    PolarMatrix(table_, options_.polar, {direct ? task.g : factor, factor}, scratch);
    if (!scratch.measuring()) RememberAndUpdate(task, factor);
  }

 private:
  void Remember(const StepTask& task, const Matrix& direction) const {
    ForChunks(direction, [&](const Run& run) {
      T g[kChunk], w[kChunk], v[kChunk];
      LoadRun<S>(task.g, run, g, sign_);
      if (rule_.coupled()) LoadRun<S>(task.w, run, w);
      RememberRun(task, run, w, g, v);
      StoreRun<S>(g, run, direction);
    });
  }

  void Update(const StepTask& task, const Matrix& factor) const {
    ForChunks(factor, [&](const Run& run) {
      T d[kChunk], w[kChunk];
      LoadRun<S>(factor, run, d, static_cast<T>(task.scale));
      LoadRun<S>(task.w, run, w);
      rule_.Update(run.n, d, w);
      StoreRun<S>(w, run, task.w);
    });
  }

  void RememberAndUpdate(const StepTask& task, const Matrix& factor) const {
    ForChunks(factor, [&](const Run& run) {
      T d[kChunk], w[kChunk], v[kChunk];
      LoadRun<S>(factor, run, d, sign_ * static_cast<T>(task.scale));
      LoadRun<S>(task.w, run, w);
      RememberRun(task, run, w, d, v);
      rule_.Update(run.n, d, w);
      StoreRun<S>(w, run, task.w);
    });
  }

  void RememberRun(const StepTask& task, const Run& run, const T* w, T* g, T* v) const {
    const bool buffered = task.v.data != nullptr;
    if (buffered && !task.fresh) LoadRun<S>(task.v, run, v);
    rule_.Remember(run.n, task.fresh, w, g, buffered ? v : nullptr);
    if (buffered) StoreRun<S>(v, run, task.v);
  }

  const KernelTable& table_;
  const ortho_step_options& options_;
  const StepRule<T> rule_;
  const T sign_;
};

void StepMatrix(const KernelTable& table, const ortho_step_options& options, const StepTask& task,
                Scratch& scratch) {
  switch (task.g.dtype) {
    case Dtype::kFloat16:
      return Step<float, Half>(table, options)(task, scratch);
    case Dtype::kBfloat16:
      return Step<float, Bfloat>(table, options)(task, scratch);
    case Dtype::kFloat32:
      return Step<float, float>(table, options)(task, scratch);
    case Dtype::kFloat64:
      return Step<double, double>(table, options)(task, scratch);
  }
}

std::vector<double> Costs(const std::vector<StepTask>& tasks) {
  std::vector<double> costs;
  costs.reserve(tasks.size());
  for (const StepTask& task : tasks) costs.push_back(PolarCost(task.g));
  return costs;
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
  return ScheduleWorkspace(Costs(tasks), ScratchPerThread(table, options, tasks));
}

bool StepAll(const KernelTable& table, const ortho_step_options& options,
             const std::vector<StepTask>& tasks, void* workspace, size_t workspace_bytes) {
  return Schedule(
      Costs(tasks), ScratchPerThread(table, options, tasks), workspace, workspace_bytes,
      [&](size_t i, Scratch& scratch) { StepMatrix(table, options, tasks[i], scratch); });
}

}  // namespace ortho::cpu
