// What a step takes beside the polar factors: no more than the largest matrix per thread.
#include <algorithm>

#include "check.h"
#include "cpu/orthogonal_step_.h"
#include "cpu/polar.h"
#include "cpu/thread_pool.h"

namespace ortho::test {
namespace {

using cpu::KernelTable;

Matrix RowMajor(int64_t rows, int64_t columns) {
  Matrix matrix;  // never read: its sizes are all that is asked
  matrix.rows.size = rows;
  matrix.rows.stride = columns;
  matrix.columns.size = columns;
  matrix.columns.stride = 1;
  return matrix;
}

// Of one shape and two types, the one that needs more counts, whichever comes first.
void MeasuresEveryType(const KernelTable& table) {
  cpu::SetNumThreads(1);
  for (const int64_t rows : {1, 4, 40, 100}) {
    const Matrix narrow = RowMajor(rows, 3 * rows);
    Matrix wide = narrow;
    wide.dtype = Dtype::kFloat64;
    for (const int32_t method : {ORTHO_POLAR_EXACT, ORTHO_POLAR_NEWTON}) {
      ortho_step_options options = ORTHO_STEP_OPTIONS_DEFAULT;
      options.polar.method = method;
      const auto step = [&](const Matrix& a, const Matrix& b) {
        std::vector<cpu::StepTask> tasks(2);
        tasks[0].g = a, tasks[1].g = b;
        return cpu::StepWorkspace(table, options, tasks);
      };
      const auto polar = [&](const Matrix& a, const Matrix& b) {
        return cpu::PolarWorkspace(table, options.polar, {{a, a}, {b, b}});
      };
      const size_t most_of_step = std::max(step(narrow, narrow), step(wide, wide));
      const size_t most_of_polar = std::max(polar(narrow, narrow), polar(wide, wide));
      CHECK(step(narrow, wide) == most_of_step, "step, %d rows", int(rows));
      CHECK(step(wide, narrow) == most_of_step, "step, %d rows", int(rows));
      CHECK(polar(narrow, wide) == most_of_polar, "polar, %d rows", int(rows));
      CHECK(polar(wide, narrow) == most_of_polar, "polar, %d rows", int(rows));
    }
  }
}

void TakesOneMatrixPerThread(const KernelTable& table) {
  constexpr int kThreads = 3;
  cpu::SetNumThreads(kThreads);
  std::vector<cpu::PolarPair> pairs;
  std::vector<cpu::StepTask> tasks;
  for (const int64_t rows : {512, 64, 300, 512, 700}) {
    const Matrix matrix = RowMajor(rows, 576);
    pairs.push_back({matrix, matrix});
    tasks.emplace_back();
    tasks.back().g = matrix;
  }
  constexpr size_t kLargest = 700 * 576 * sizeof(float);
  for (const int32_t placement : {ORTHO_STEP_GRADIENT, ORTHO_STEP_UPDATE}) {
    ortho_step_options options = ORTHO_STEP_OPTIONS_DEFAULT;
    options.placement = placement;
    const size_t polar = cpu::PolarWorkspace(table, options.polar, pairs);
    const size_t step = cpu::StepWorkspace(table, options, tasks);
    CHECK(step <= polar + kThreads * kLargest, "%zu bytes, %zu of them for polar", step, polar);
  }
}

}  // namespace
}  // namespace ortho::test

int main() {
  return ortho::test::OnEveryTable([](const auto& table) {
    ortho::test::TakesOneMatrixPerThread(table);
    ortho::test::MeasuresEveryType(table);
  });
}
