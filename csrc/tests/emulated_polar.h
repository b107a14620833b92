// The polynomials through the ABI on emulated device memory, and what is asked of every answer.
#pragma once

#include "polar_truth.h"

namespace ortho::test {

inline ortho_polar_options Options(int64_t steps) {
  ortho_polar_options options = ORTHO_POLAR_OPTIONS_DEFAULT;
  options.method = ORTHO_POLAR_POLYNOMIAL;
  options.coefficients = kCoefficients[0];
  options.steps = steps;
  return options;
}

// Runs the op on lists, with the workspace that it asks for.
inline ortho_status Run(const std::vector<const DeviceTensor*>& xs,
                        const std::vector<DeviceTensor*>& outs, int64_t steps,
                        const int64_t* row_blocks = nullptr) {
  std::vector<ortho_tensor> inputs, outputs;
  for (const DeviceTensor* x : xs) inputs.push_back(x->View());
  for (const DeviceTensor* out : outs) outputs.push_back(out->View());
  const auto count = static_cast<int64_t>(xs.size());
  const ortho_polar_options options = Options(steps);
  size_t bytes = 0;
  const ortho_status status =
      ortho_polar_workspace(&options, inputs.data(), row_blocks, count, &bytes);
  if (status) return status;
  const emulation::DeviceBuffer<char> workspace("workspace", bytes);
  return ortho_polar(&options, inputs.data(), outputs.data(), row_blocks, count, workspace.data(),
                     bytes, nullptr);
}

// Half a unit in the last place of what the result is stored in.
inline double Rounding(Dtype dtype) {
  return dtype == Dtype::kBfloat16 ? 0x1p-8 : dtype == Dtype::kFloat16 ? 0x1p-11 : 0;
}

// Runs one matrix and checks it, and that nothing else was touched.
inline void CheckMatrix(const char* what, const DeviceTensor& x, DeviceTensor& out, int64_t steps,
                        double bound) {
  const int64_t m = x.shape()[0], n = x.shape()[1];
  const Values before = ValuesOf(x, 0, m * n);
  const ortho_status status = Run({&x}, {&out}, steps);
  CHECK(status == ORTHO_OK, "%s: %s", what, ortho_last_error());
  if (status) return;
  const double error = RelativeError(ValuesOf(out, 0, m * n), Truth(before, m, n, steps));
  CHECK(error <= bound, "%s, %d x %d, %d steps: off by %.2g", what, static_cast<int>(m),
        static_cast<int>(n), static_cast<int>(steps), error);
  CHECK(out.WrittenInAll() == m * n, "%s: wrote %d elements, those beside the output among them",
        what, static_cast<int>(out.WrittenInAll()));
  if (x.View().data != out.View().data)
    CHECK(ValuesOf(x, 0, m * n) == before, "%s: wrote to the input", what);
}

}  // namespace ortho::test
