// The polynomials' CUDA kernel, run by csrc/emulation through the ABI, against the same polynomial
// in float64 on the same (already rounded) input.
#include <functional>
#include <string>

#include "emulated_polar.h"
#include "emulation/grid.h"

namespace ortho::test {
namespace {

constexpr double kContract = 1e-4;  // Gram form, float32, condition <= 1e2

void TestContracts() {
  const std::pair<int64_t, int64_t> shapes[] = {{1, 1},   {1, 50},  {3, 5},    {16, 16}, {16, 27},
                                                {17, 33}, {27, 16}, {31, 90},  {64, 65}, {70, 65},
                                                {50, 1},  {96, 97}, {127, 130}};
  for (const auto& [m, n] : shapes)
    for (const double condition : {0.0, 1e2}) {
      DeviceTensor x("x", Dtype::kFloat32, {m, n}), out("out", Dtype::kFloat32, {m, n}, 3);
      FillPlanted(x, m, n, condition, 1);
      CheckMatrix("contract", x, out, 8, kContract);
    }
}

// Some steps take some singular values far down, and rounding is magnified on the way back.
void TestUnevenSpectra() {
  for (const auto& [m, n] : {std::pair<int64_t, int64_t>{8, 400}, {64, 80}, {96, 864}})
    for (const double condition : {1e1, 1e2})
      for (const int64_t small : {m / 4, m - 1}) {
        DeviceTensor x("x", Dtype::kFloat32, {m, n}), out("out", Dtype::kFloat32, {m, n});
        Values sigma(static_cast<size_t>(m), 1.0);
        std::fill(sigma.end() - small, sigma.end(), 1 / condition);
        FillWithSingularValues(x, m, n, sigma, 5);
        CheckMatrix("uneven", x, out, 8, kContract);
      }
}

// 25000 sums rounded towards zero, one on top of the other, would lose 3e-4 of the norm.
void TestLongRows() {
  DeviceTensor x("x", Dtype::kFloat32, {1, 400000}), out("out", Dtype::kFloat32, {1, 400000});
  for (int64_t i = 0; i < x.elements(); ++i) x.Set(i, 1 + 0.1 * (i % 7));
  CheckMatrix("long rows", x, out, 1, kContract);
}

void TestSteps() {
  for (const int64_t steps : {1, 2, 3, 4, 5, 7})
    for (const Dtype dtype : {Dtype::kFloat32, Dtype::kFloat16}) {
      DeviceTensor x("x", dtype, {20, 40}), out("out", dtype, {20, 40});
      FillPlanted(x, 20, 40, 1e2, 2);
      CheckMatrix("steps", x, out, steps, kContract + Rounding(dtype));
    }
}

void TestDtypes() {
  for (const Dtype dtype : {Dtype::kFloat16, Dtype::kBfloat16, Dtype::kFloat32, Dtype::kFloat64})
    for (const auto& [m, n] : {std::pair<int64_t, int64_t>{10, 33}, {40, 70}, {70, 40}}) {
      DeviceTensor x("x", dtype, {m, n}, 1), out("out", dtype, {m, n}, 2);
      FillPlanted(x, m, n, 30, 3);
      CheckMatrix("dtype", x, out, 8, kContract + Rounding(dtype));
    }
}

// Any power of two within range leaves every bit as it was.
void TestScales() {
  const std::pair<Dtype, std::vector<int>> scales[] = {{Dtype::kFloat32, {100, -100, -125}},
                                                       {Dtype::kFloat16, {10, -4}},
                                                       {Dtype::kBfloat16, {100, -100}},
                                                       {Dtype::kFloat64, {900, -900}}};
  for (const auto& [dtype, exponents] : scales) {
    DeviceTensor x("x", dtype, {12, 19}), out("out", dtype, {12, 19});
    x.FillRandom(4);
    for (int64_t i = 0; i < x.elements(); ++i)  // large enough to stay exact in a small float16
      x.Set(i, x.Value(i) < 0 ? x.Value(i) - 1 : x.Value(i) + 1);
    CHECK(Run({&x}, {&out}, 8) == ORTHO_OK, "%s", ortho_last_error());
    for (const int exponent : exponents) {
      DeviceTensor scaled("scaled", dtype, {12, 19}), its("its", dtype, {12, 19});
      for (int64_t i = 0; i < x.elements(); ++i) scaled.Set(i, std::scalbn(x.Value(i), exponent));
      CHECK(Run({&scaled}, {&its}, 8) == ORTHO_OK, "%s", ortho_last_error());
      CHECK(ValuesOf(its, 0, 228) == ValuesOf(out, 0, 228), "2^%d changed a bit", exponent);
    }
  }
  DeviceTensor x("x", Dtype::kFloat32, {6, 90}), out("out", Dtype::kFloat32, {6, 90});
  x.FillRandom(5);
  for (int64_t i = 0; i < 540; ++i) x.Set(i, std::scalbn(x.Value(i), -131));  // no normal number
  CheckMatrix("subnormal", x, out, 8, kContract);
  for (int64_t i = 0; i < 540; i += 59) {  // wherever the largest element is, it is found
    x.FillRandom(5);
    x.Set(i, 0x1p60);
    CheckMatrix("outlier", x, out, 2, kContract);
  }
}

void TestZerosAndNotFinite() {
  constexpr int64_t kMatrices = 6, kColumns = 70, kEach = 20 * kColumns;
  DeviceTensor x("x", Dtype::kFloat32, {kMatrices, 20, kColumns}),
      out("out", Dtype::kFloat32, {kMatrices, 20, kColumns});
  DeviceTensor alone("alone", Dtype::kFloat32, {20, kColumns}),
      its("its", Dtype::kFloat32, {20, kColumns});
  alone.FillRandom(6);
  for (int64_t i = 0; i < x.elements(); ++i) x.Set(i, alone.Value(i % kEach));
  for (int64_t i = 0; i < kEach; ++i) x.Set(2 * kEach + i, 0);
  for (int64_t i = 0; i < kColumns; ++i) x.Set(4 * kEach + 7 * kColumns + i, 0);
  x.Set(1 * kEach + 333, NAN);
  x.Set(5 * kEach + kEach - 1, -INFINITY);
  CHECK(Run({&x}, {&out}, 8) == ORTHO_OK, "%s", ortho_last_error());
  CHECK(Run({&alone}, {&its}, 8) == ORTHO_OK, "%s", ortho_last_error());
  const Values expected = ValuesOf(its, 0, kEach);
  for (const int64_t matrix : {0, 3})
    CHECK(ValuesOf(out, matrix * kEach, kEach) == expected, "a neighbour changed matrix %d",
          static_cast<int>(matrix));
  int nans = 0, zeros = 0, zero_row = 0;
  for (int64_t i = 0; i < kEach; ++i) {
    nans += std::isnan(out.Value(1 * kEach + i)) + std::isnan(out.Value(5 * kEach + i));
    zeros += out.Value(2 * kEach + i) == 0;
    zero_row += out.Value(4 * kEach + i) == 0;
  }
  CHECK(nans == 2 * kEach, "%d elements are NaN", nans);
  CHECK(zeros == kEach, "%d elements of the zero matrix are zero", zeros);
  CHECK(zero_row == kColumns, "%d elements of the zero row are zero", zero_row);
}

// One call of many shapes, dtypes and layouts: what each gives alone, in one launch a size class.
void TestMixedTable() {
  const std::vector<int64_t> shapes[] = {{8, 8},   {16, 300}, {300, 16}, {5, 64}, {33, 47},
                                         {64, 64}, {90, 65},  {128, 16}, {2, 3},  {65, 65}};
  const Dtype dtypes[] = {Dtype::kFloat32, Dtype::kBfloat16, Dtype::kFloat64, Dtype::kFloat16};
  std::vector<std::unique_ptr<DeviceTensor>> xs, outs;
  std::vector<const DeviceTensor*> inputs;
  std::vector<DeviceTensor*> outputs;
  for (const std::vector<int64_t>& shape : shapes) {
    const Dtype dtype = dtypes[xs.size() % 4];
    xs.push_back(std::make_unique<DeviceTensor>("x" + std::to_string(xs.size()), dtype, shape));
    outs.push_back(
        std::make_unique<DeviceTensor>("out" + std::to_string(outs.size()), dtype, shape));
    xs.back()->FillRandom(xs.size());
    inputs.push_back(xs.back().get());
    outputs.push_back(outs.back().get());
  }
  const int64_t before = emulation::launches;
  CHECK(Run(inputs, outputs, 5) == ORTHO_OK, "%s", ortho_last_error());
  CHECK(emulation::launches - before == 3, "%d launches for sides up to 16, 64 and 96",
        static_cast<int>(emulation::launches - before));
  for (size_t i = 0; i < xs.size(); ++i) {
    DeviceTensor alone("alone", dtypes[i % 4], xs[i]->shape());
    CHECK(Run({xs[i].get()}, {&alone}, 5) == ORTHO_OK, "%s", ortho_last_error());
    const int64_t n = alone.elements();
    CHECK(ValuesOf(alone, 0, n) == ValuesOf(*outs[i], 0, n), "tensor %d depends on its company",
          static_cast<int>(i));
  }
}

// Many of one class: more than a launch carries.
void TestFullTable() {
  constexpr int64_t kMatrices = 300;
  DeviceTensor x("x", Dtype::kFloat32, {kMatrices, 2, 3}),
      out("out", Dtype::kFloat32, {kMatrices, 2, 3});
  for (int64_t i = 0; i < x.elements(); ++i)
    x.Set(i, static_cast<double>(i * 7 % 11) - 3 + (i % 6 == 0));
  const int64_t before = emulation::launches;
  CHECK(Run({&x}, {&out}, 2) == ORTHO_OK, "%s", ortho_last_error());
  CHECK(emulation::launches - before == 2, "%d launches",
        static_cast<int>(emulation::launches - before));
  for (int64_t i = 0; i < kMatrices; ++i) {
    const double error =
        RelativeError(ValuesOf(out, i * 6, 6), Truth(ValuesOf(x, i * 6, 6), 2, 3, 2));
    CHECK(error <= kContract, "matrix %d is off by %g", static_cast<int>(i), error);
  }
}

// The same bits from every layout, in place too.
void TestLayouts() {
  constexpr int64_t kRows = 24, kChannels = 3, kHeight = 4, kWidth = 5, kColumns = 60;
  DeviceTensor plain("plain", Dtype::kFloat32, {kRows, kChannels, kHeight, kWidth});
  DeviceTensor result("result", Dtype::kFloat32, {kRows, kChannels, kHeight, kWidth});
  plain.FillRandom(7);
  const int64_t flatten[] = {1};
  CHECK(Run({&plain}, {&result}, 8, flatten) == ORTHO_OK, "%s", ortho_last_error());
  const Values expected = ValuesOf(result, 0, kRows * kColumns);
  const auto check = [&](const char* what, DeviceTensor& x, DeviceTensor& out,
                         const int64_t* view) {
    for (int64_t i = 0; i < kRows * kColumns; ++i) x.Set(i, plain.Value(i));
    CHECK(Run({&x}, {&out}, 8, view) == ORTHO_OK, "%s: %s", what, ortho_last_error());
    CHECK(ValuesOf(out, 0, kRows * kColumns) == expected, "%s: other bits", what);
  };
  DeviceTensor last_x("last x", Dtype::kFloat32, {kRows, kHeight, kWidth, kChannels}),
      last_out("last out", Dtype::kFloat32, {kRows, kHeight, kWidth, kChannels});
  last_x.Permute({0, 3, 1, 2});
  last_out.Permute({0, 3, 1, 2});
  check("channels last", last_x, last_out, flatten);
  check("channels last in place", last_x, last_x, flatten);
  DeviceTensor columns_x("columns x", Dtype::kFloat32, {kColumns, kRows}, 5),
      columns_out("columns out", Dtype::kFloat32, {kColumns, kRows});
  columns_x.Permute({1, 0});
  columns_out.Permute({1, 0});
  check("column-major", columns_x, columns_out, nullptr);
  columns_x.Reverse();
  check("negative strides", columns_x, columns_out, nullptr);
  DeviceTensor place("place", Dtype::kFloat32, {kRows, kColumns}, 1);
  check("in place", place, place, nullptr);
}

void CheckRefusal(const std::string& words, const DeviceTensor& x, ortho_polar_options options,
                  const std::function<void(ortho_tensor*)>& change = {}) {
  ortho_tensor in = x.View();
  if (change) change(&in);
  size_t bytes = 0;
  const ortho_status status = ortho_polar_workspace(&options, &in, nullptr, 1, &bytes);
  CHECK(status != ORTHO_OK && ortho_last_error() == words, "%s", ortho_last_error());
}

void TestWords() {
  const DeviceTensor x("x", Dtype::kFloat32, {4, 6}), large("large", Dtype::kFloat32, {129, 130});
  DeviceTensor sliced("sliced", Dtype::kFloat32, {3, 4, 5, 6}, 1);
  CheckRefusal(
      "polar: x must have a smaller side of at most 128 for the kernels of this GPU, got 129 x 130",
      large, Options(5));
  CheckRefusal(
      "polar: method must be 1 (polynomial) for the CUDA kernels, got 0: the others run on cpu", x,
      ORTHO_POLAR_OPTIONS_DEFAULT);
  ortho_polar_options many = Options(33);
  std::vector<double> coefficients(99, 1.0);
  many.coefficients = coefficients.data();
  CheckRefusal("polar: steps must be at most 32 for the CUDA kernels, got 33", x, many);
  CheckRefusal("polar: CUDA failed: invalid argument", x, Options(5),
               [](ortho_tensor* in) { in->device_id = 1; });

  const DeviceTensor half("half", Dtype::kFloat16, {4, 6}), out("out", Dtype::kFloat16, {4, 6});
  const ortho_tensor in = half.View(), its = out.View();
  const ortho_polar_options options = Options(5);
  CHECK(
      ortho_polar(&options, &in, &its, nullptr, 1, nullptr, 0, nullptr) == ORTHO_SMALL_WORKSPACE &&
          std::string(ortho_last_error()) == "polar: workspace must have at least 96 bytes, got 0",
      "%s", ortho_last_error());
  const int64_t flatten[] = {1};
  sliced.Permute({0, 2, 3, 1});
  const ortho_tensor odd = sliced.View();
  size_t bytes = 0;
  CHECK(ortho_polar_workspace(&options, &odd, flatten, 1, &bytes) == ORTHO_RUNTIME_ERROR &&
            std::string(ortho_last_error())
                    .find("must have rows and columns of two strides at most") != std::string::npos,
        "%s", ortho_last_error());
}

// The table in docs/ops/polar.md: the worst of the shapes that it names.
int PrintAccuracy() {
  for (const double condition : {1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6}) {
    double worst = 0;
    for (const auto& [m, n] : {std::pair<int64_t, int64_t>{16, 144}, {64, 576}, {96, 96}}) {
      DeviceTensor x("x", Dtype::kFloat32, {m, n}), out("out", Dtype::kFloat32, {m, n});
      FillPlanted(x, m, n, condition, 1);
      if (Run({&x}, {&out}, 8)) return 1;
      const Values truth = Truth(ValuesOf(x, 0, m * n), m, n, 8);
      worst = std::max(worst, RelativeError(ValuesOf(out, 0, m * n), truth));
    }
    std::printf("condition %.0e: %.0e\n", condition, worst);
  }
  return 0;
}

}  // namespace
}  // namespace ortho::test

int main(int argc, char** argv) {
  using namespace ortho::test;
  if (argc == 2 && std::string(argv[1]) == "accuracy") return PrintAccuracy();
  return OnEverySchedule([] {
    TestContracts();
    TestUnevenSpectra();
    TestLongRows();
    TestSteps();
    TestDtypes();
    TestScales();
    TestZerosAndNotFinite();
    TestMixedTable();
    TestFullTable();
    TestLayouts();
    TestWords();
  });
}
