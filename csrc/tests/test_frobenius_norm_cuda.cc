// Op frobenius_norm through the ABI, its CUDA kernel run by csrc/emulation: every dtype, ragged and
// strided shapes, zeros, NaN and Inf, the ends of each type's range, against a float64 truth that
// never leaves range; and the words for what a GPU refuses.
#include <cstring>
#include <string>

#include "check.h"
#include "device_tensor.h"
#include "ortho/ortho.h"

namespace ortho::test {
namespace {

double Truth(const DeviceTensor& x, int64_t first, int64_t rows, int64_t columns) {
  double largest = 0, sum = 0;
  for (int64_t i = 0; i < rows * columns; ++i)
    largest = std::fmax(largest, std::abs(x.Value(first + i)));
  if (largest == 0) return 0;
  const int exponent = std::isfinite(largest) ? std::ilogb(largest) : 0;
  for (int64_t i = 0; i < rows * columns; ++i) {
    const double value = std::scalbn(x.Value(first + i), -exponent);
    sum += value * value;
  }
  return std::scalbn(std::sqrt(sum), exponent);
}

// Checks every norm of x, and that no neighbour of the outputs was written.
void CheckNorms(const char* what, const DeviceTensor& x) {
  const int64_t rows = x.shape()[x.shape().size() - 2], columns = x.shape().back();
  const int64_t count = x.elements() / std::max<int64_t>(rows * columns, 1);
  DeviceTensor out("out", Dtype::kFloat64,
                   std::vector<int64_t>(x.shape().begin(), x.shape().end() - 2));
  const ortho_tensor in = x.View(), norms = out.View();
  const ortho_status status = ortho_frobenius_norm(&in, &norms, nullptr);
  CHECK(status == ORTHO_OK, "%s: %s", what, ortho_last_error());
  for (int64_t i = 0; i < count && status == ORTHO_OK; ++i) {
    const double truth = Truth(x, i * rows * columns, rows, columns), norm = out.Value(i);
    // A sum of n float64 squares in any order is off by less than n eps.
    const double bound = truth * static_cast<double>(rows * columns + 2) * 0x1p-53;
    const bool right = std::isnan(truth)   ? std::isnan(norm)
                       : std::isinf(truth) ? norm == truth
                                           : std::abs(norm - truth) <= bound;
    CHECK(right, "%s, matrix %d: %.17g instead of %.17g", what, static_cast<int>(i), norm, truth);
  }
}

void TestShapes(Dtype dtype) {
  const std::vector<std::vector<int64_t>> shapes = {{1, 1},    {1, 1000},     {1000, 1}, {16, 27},
                                                    {3, 5, 7}, {2, 2, 33, 9}, {0, 4, 4}, {3, 0, 5}};
  for (const std::vector<int64_t>& shape : shapes) {
    DeviceTensor x("x", dtype, shape);
    x.FillRandom(1);
    CheckNorms("shape", x);
    x.Transpose();
    CheckNorms("transposed", x);
    x.Reverse();
    CheckNorms("negative strides", x);
  }
}

void TestValues(Dtype dtype) {
  const double smallest = dtype == Dtype::kFloat16   ? 0x1p-24
                          : dtype == Dtype::kFloat64 ? 0x1p-1074
                                                     : 0x1p-126;
  const double largest = dtype == Dtype::kFloat16   ? 0x1p15
                         : dtype == Dtype::kFloat64 ? 0x1p1020
                                                    : 0x1p127;
  for (const double value : {0.0, smallest, largest}) {
    DeviceTensor x("x", dtype, {5, 6});
    x.FillRandom(2);
    for (int64_t i = 0; i < 30; ++i) x.Set(i, i % 3 ? value : -value);
    CheckNorms("extreme", x);
  }
  for (const double value : {double(NAN), double(INFINITY)}) {
    DeviceTensor x("x", dtype, {4, 20, 30});
    x.FillRandom(3);
    x.Set(2 * 600 + 599, value);  // of one matrix; its neighbours keep theirs
    CheckNorms("not finite", x);
  }
}

// The same values give the same bits, wherever they lie and whatever lies beside them.
void TestBits(Dtype dtype) {
  DeviceTensor batch("batch", dtype, {3, 17, 40}), alone("alone", dtype, {17, 40});
  batch.FillRandom(4);
  for (int64_t i = 0; i < 17 * 40; ++i) alone.Set(i, batch.Value(17 * 40 + i));
  DeviceTensor norms("norms", Dtype::kFloat64, {3}), norm("norm", Dtype::kFloat64, {});
  const ortho_tensor views[] = {batch.View(), norms.View(), alone.View(), norm.View()};
  CHECK(ortho_frobenius_norm(&views[0], &views[1], nullptr) == ORTHO_OK, "%s", ortho_last_error());
  CHECK(ortho_frobenius_norm(&views[2], &views[3], nullptr) == ORTHO_OK, "%s", ortho_last_error());
  CHECK(norms.Value(1) == norm.Value(0), "%a beside others, %a alone", norms.Value(1),
        norm.Value(0));
}

void TestWords() {
  DeviceTensor x("x", Dtype::kFloat32, {4, 4}), out("out", Dtype::kFloat64, {});
  ortho_tensor in = x.View(), norm = out.View();
  in.device_id = norm.device_id = 1;
  const ortho_status status = ortho_frobenius_norm(&in, &norm, nullptr);
  const std::string words = "frobenius_norm: CUDA failed: invalid device ordinal";
  CHECK(status == ORTHO_RUNTIME_ERROR && ortho_last_error() == words, "%s", ortho_last_error());
}

}  // namespace
}  // namespace ortho::test

int main() {
  using namespace ortho;
  return test::OnEverySchedule([] {
    for (const Dtype dtype :
         {Dtype::kFloat16, Dtype::kBfloat16, Dtype::kFloat32, Dtype::kFloat64}) {
      test::TestShapes(dtype);
      test::TestValues(dtype);
      test::TestBits(dtype);
    }
    test::TestWords();
  });
}
