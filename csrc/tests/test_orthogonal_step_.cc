// What a step takes beside the polar factors: no more than the largest matrix per thread.
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

int main() { return ortho::test::OnEveryTable(ortho::test::TakesOneMatrixPerThread); }
