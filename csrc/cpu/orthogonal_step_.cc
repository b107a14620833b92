// Momentum, polar factor, scale, decay and weight update, one matrix at a time (ortho.h has the
// formulas). The factor O of a matrix lives in scratch between two passes over it:
//
//   ORTHO_STEP_GRADIENT  O = polar(g)          reads g
//                        v, w from O           reads and writes v and w once
//   ORTHO_STEP_UPDATE    v, O = d from g       reads g, reads and writes v, reads w if decay is
//                                              coupled
//                        O = polar(O), w from O    reads and writes w once
//
// Layout: any strides; scratch holds O with g's contiguous axis innermost. Outside the polar factor
// it is one kernel in one pass (simd_step.h), bound by memory.
#include "cpu/orthogonal_step_.h"

#include <algorithm>

#include "cpu/pieces.h"
#include "cpu/polar.h"
#include "cpu/schedule.h"
#include "cpu/step_rule.h"
#include "cpu/thread_pool.h"

namespace ortho::cpu {
namespace {

// Whether a column is contiguous and a row is not.
bool GoesDown(const Matrix& matrix) { return IsUnit(matrix.rows) && !IsUnit(matrix.columns); }

// A matrix as lines, columns if `down`; its data is null where there is none.
struct Lines {
  char* data = nullptr;
  int64_t item = 0;
  const Axis *outer = nullptr, *inner = nullptr;

  Lines() = default;
  Lines(const Matrix& matrix, bool down)
      : data(matrix.data),
        item(ItemSize(matrix.dtype)),
        outer(down ? &matrix.columns : &matrix.rows),
        inner(down ? &matrix.rows : &matrix.columns) {}

  bool InPlace() const { return !data || IsUnit(*inner); }  // no gaps in a line
  bool Dense() const {                                      // nor between lines
    return !data || (IsUnit(*inner) && outer->dim_count == 0 &&
                     (outer->stride == inner->size || outer->size == 1));
  }
  char* At(int64_t line, int64_t begin) const {
    return data ? data + (outer->Offset(line) + begin) * item : nullptr;
  }
};

void Gather(const Lines& lines, int64_t line, int64_t begin, int64_t n, char* row) {
  GatherPieces(*lines.inner, lines.At(line, 0), lines.item, begin, n, row);
}

void Scatter(const Lines& lines, int64_t line, int64_t begin, int64_t n, const char* row) {
  ScatterPieces(*lines.inner, lines.At(line, 0), lines.item, begin, n, row);
}

// What a pass goes over; g is only read. Without a direction w is written, without v no buffer.
struct Operands {
  Lines g, v, w, direction;
};

// Contiguous elements of the four.
struct Run {
  StepArrays at;
  int64_t n;
};

constexpr int64_t kBlock = 1 << 14;  // elements that a thread takes at a time
constexpr int64_t kRoom = 256;

// body(run) on every piece of the operands, which agree in size; what has gaps is gathered into
// room, and what is written put back.
template <typename Body>
void ForRuns(const Operands& of, const Body& body) {
  int64_t lines = of.g.outer->size, length = of.g.inner->size;
  const double work = static_cast<double>(lines * length);
  if (of.g.Dense() && of.v.Dense() && of.w.Dense() && of.direction.Dense()) {
    length *= lines;
    return SplitLoop((length + kBlock - 1) / kBlock, work, [&](int64_t block) {
      const int64_t begin = block * kBlock;
      body(Run{{of.g.At(0, begin), of.v.At(0, begin), of.w.At(0, begin), of.direction.At(0, begin)},
               std::min(kBlock, length - begin)});
    });
  }
  const Lines* const all[] = {&of.g, &of.v, &of.w, &of.direction};
  bool in_place[4];
  for (int k = 0; k < 4; ++k) in_place[k] = all[k]->InPlace();
  const bool whole = in_place[0] && in_place[1] && in_place[2] && in_place[3];
  const int64_t step = whole ? length : kRoom;
  SplitLoop(lines, work, [&](int64_t line) {
    for (int64_t begin = 0; begin < length; begin += step) {
      const int64_t n = std::min(step, length - begin);
      alignas(64) char room[4][kRoom * sizeof(double)];
      char* at[4];
      for (int k = 0; k < 4; ++k) {
        at[k] = in_place[k] ? all[k]->At(line, begin) : room[k];
        if (!in_place[k]) Gather(*all[k], line, begin, n, room[k]);
      }
      body(Run{{at[0], at[1], at[2], at[3]}, n});
      for (int k = 1; k < 4; ++k)
        if (!in_place[k]) Scatter(*all[k], line, begin, n, room[k]);
    }
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

// A buffer that leaves no trace: v + 0 is v, but 0 - 0 loses the sign that -0 - 0 keeps.
void FillWithZeros(int64_t n, void* v, Dtype dtype, bool negative) {
  const auto fill = [&](auto* words, auto sign) { std::fill_n(words, n, negative ? sign : 0); };
  switch (ItemSize(dtype)) {
    case 2:
      return fill(static_cast<uint16_t*>(v), uint16_t{1} << 15);
    case 4:
      return fill(static_cast<uint32_t*>(v), uint32_t{1} << 31);
    default:
      return fill(static_cast<uint64_t*>(v), uint64_t{1} << 63);
  }
}

StepRule RuleOf(const ortho_step_options& options) {
  StepRule rule;
  rule.average = options.average;
  rule.nesterov = options.nesterov;
  rule.coupled = !options.decoupled && options.weight_decay != 0;
  rule.decoupled = options.decoupled && options.weight_decay != 0;
  rule.momentum = rule.carried = options.momentum;
  rule.coming = 1 - (options.average ? options.momentum : options.dampening);
  rule.decay = options.weight_decay;
  rule.kept = 1 - options.lr * options.weight_decay;
  rule.lr = options.lr;
  return rule;
}

class Step {
 public:
  Step(const KernelTable& table, const ortho_step_options& options)
      : table_(table),
        options_(options),
        rule_(RuleOf(options)),
        sign_(options.maximize ? -1 : 1) {}

  void operator()(const StepTask& task, Scratch& scratch) const {
    const bool down = GoesDown(task.g);
    const Matrix factor = ScratchLike(task.g, scratch);
    const Lines g(task.g, down), o(factor, down);
    const Lines v = task.v.data ? Lines(task.v, down) : Lines(), w(task.w, down);
    if (options_.placement == ORTHO_STEP_UPDATE) {
      if (!scratch.measuring()) Pass(task, rule_, sign_, {g, v, rule_.coupled ? w : Lines(), o});
      PolarMatrix(table_, options_.polar, {factor, factor}, scratch);
      StepRule move = rule_;
      move.coupled = false;
      if (!scratch.measuring()) Pass(task, move, task.scale, {o, Lines(), w, Lines()});
      return;
    }
    StoredMatrix ignored;
    const bool direct = AsStored(task.g, &ignored);
    if (!direct && !scratch.measuring()) {
      const int64_t length = o.inner->size;
      SplitLoop(o.outer->size, static_cast<double>(o.outer->size * length),
                [&](int64_t line) { Gather(g, line, 0, length, o.At(line, 0)); });
    }
    PolarMatrix(table_, options_.polar, {direct ? task.g : factor, factor}, scratch);
    if (!scratch.measuring()) Pass(task, rule_, sign_ * task.scale, {o, v, w, Lines()});
  }

 private:
  void Pass(const StepTask& task, StepRule rule, double scale, const Operands& operands) const {
    const Dtype dtype = task.g.dtype;
    const bool fresh = task.fresh && operands.v.data;
    // The first gradient is all of SGD's buffer, and comes to an average of nothing.
    if (fresh && !rule.average) rule.carried = rule.coming = 1;
    const auto step = table_.step[static_cast<int>(dtype)];
    ForRuns(operands, [&](const Run& run) {
      if (fresh) FillWithZeros(run.n, run.at.v, dtype, !rule.average);
      step(rule, scale, run.n, run.at);
    });
  }

  const KernelTable& table_;
  const ortho_step_options& options_;
  const StepRule rule_;
  const double sign_;
};

CostOf CostIn(const std::vector<StepTask>& tasks) {
  return [&tasks](size_t i) { return PolarCost(tasks[i].g); };
}

size_t ScratchPerThread(const KernelTable& table, const ortho_step_options& options,
                        const std::vector<StepTask>& tasks) {
  const Step step(table, options);
  size_t most = 0;
  const Matrix* measured = nullptr;
  for (const StepTask& task : tasks) {
    // Stacks and models repeat a form: measure it once.
    StoredMatrix ignored;
    const bool simple = AsStored(task.g, &ignored);
    if (simple && measured && SameForm(task.g, *measured)) continue;
    if (simple) measured = &task.g;
    Scratch measure;
    step(task, measure);
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
  const Step step(table, options);
  return Schedule(tasks.size(), CostIn(tasks), ScratchPerThread(table, options, tasks), workspace,
                  workspace_bytes, [&](size_t i, Scratch& scratch) { step(tasks[i], scratch); });
}

}  // namespace ortho::cpu
