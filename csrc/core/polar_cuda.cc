#include "core/polar_cuda.h"

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

#include "core/matrix.h"
#include "core/status.h"
#include "cuda/polar.h"

namespace ortho {
namespace {

using cuda::PackedAxis;
using cuda::PackedMatrix;
using cuda::PolarProblem;

constexpr size_t kAlignment = 16;

// Two strides at most, and no element further away than 32 bits can say.
bool Pack(const Axis& axis, PackedAxis* packed, int64_t* reach) {
  if (axis.dim_count > 2) return false;
  const bool two = axis.dim_count == 2;
  const Axis::Dim outer = two ? axis.dims[0] : Axis::Dim{1, 0};
  const Axis::Dim inner = two ? axis.dims[1] : Axis::Dim{axis.size, axis.stride};
  *reach += std::abs(outer.stride) * (outer.size - 1) + std::abs(inner.stride) * (inner.size - 1);
  if (*reach > INT32_MAX || axis.size > INT32_MAX / 2) return false;
  if (axis.size > 1) packed->step = static_cast<int32_t>(inner.stride);
  if (two) {
    packed->jump = static_cast<int32_t>(outer.stride);
    packed->inner_size = static_cast<int32_t>(inner.size);
    packed->reciprocal = static_cast<uint32_t>((int64_t{1} << 32) / inner.size);
  }
  return true;
}

// False where the kernels cannot follow the strides.
bool Pack(const Matrix& matrix, PackedMatrix* packed) {
  int64_t reach = 0;
  packed->data = matrix.data;
  packed->dtype = matrix.dtype;
  packed->m = static_cast<int32_t>(matrix.rows.size);
  packed->n = static_cast<int32_t>(matrix.columns.size);
  if (!Pack(matrix.rows, &packed->rows, &reach) || !Pack(matrix.columns, &packed->columns, &reach))
    return false;
  if (packed->m > packed->n) {
    std::swap(packed->rows, packed->columns);
    std::swap(packed->m, packed->n);
  }
  return true;
}

ortho_status PackProblem(const PolarCall& call, int64_t i, const Matrix& x, const Matrix& out,
                         int limit, PolarProblem* problem) {
  if (std::min(x.rows.size, x.columns.size) > limit)
    return Fail(ORTHO_RUNTIME_ERROR,
                "%s: %s must have a smaller side of at most %d for the kernels of this GPU, got "
                "%lld x %lld",
                call.op(), call.InputName(i).Text().c_str(), limit,
                static_cast<long long>(x.rows.size), static_cast<long long>(x.columns.size));
  if (!Pack(x, &problem->x) || !Pack(out, &problem->out))
    return Fail(ORTHO_RUNTIME_ERROR,
                "%s: %s must have rows and columns of two strides at most, within 2^31 elements, "
                "for the CUDA kernels, in and out, got shape %s, strides %s",
                call.op(), call.InputName(i).Text().c_str(), ShapeText(call.inputs[i]).c_str(),
                StridesText(call.inputs[i]).c_str());
  return ORTHO_OK;
}

// All matrices of the call, in order; without outputs, an input stands for its own.
ortho_status Problems(const PolarCall& call, const ortho_tensor* outputs, int limit,
                      std::vector<PolarProblem>* problems) {
  for (int64_t i = 0; i < call.count; ++i) {
    const Matrices xs(call.inputs[i], call.RowBlocks(i));
    const Matrices outs(outputs ? outputs[i] : call.inputs[i], call.RowBlocks(i));
    for (int64_t j = 0; j < xs.count(); ++j) {
      problems->emplace_back();
      if (ortho_status status = PackProblem(call, i, xs[j], outs[j], limit, &problems->back()))
        return status;
    }
  }
  return ORTHO_OK;
}

// Gives every problem its iterate, from `base` on where it needs one of its own; the bytes of
// those.
size_t PlaceIterates(const PolarCall& call, char* base, std::vector<PolarProblem>* problems) {
  size_t bytes = 0;
  for (PolarProblem& problem : *problems) {
    problem.iterate = static_cast<float*>(problem.out.data);
    if (!cuda::PolynomialIterates(call.options) || problem.out.dtype == Dtype::kFloat32) continue;
    problem.iterate = reinterpret_cast<float*>(base + bytes);
    const size_t own = sizeof(float) * static_cast<size_t>(problem.out.m) * problem.out.n;
    bytes += (own + kAlignment - 1) / kAlignment * kAlignment;
  }
  return bytes;
}

ortho_status CheckServed(const PolarCall& call) {
  if (call.options.method != ORTHO_POLAR_POLYNOMIAL)
    return Fail(ORTHO_RUNTIME_ERROR,
                "%s: method must be 1 (polynomial) for the CUDA kernels, got %d: the others run on "
                "cpu",
                call.op(), call.options.method);
  if (call.options.steps > cuda::kMaxSteps)
    return Fail(ORTHO_VALUE_ERROR, "%s: steps must be at most %d for the CUDA kernels, got %lld",
                call.op(), cuda::kMaxSteps, static_cast<long long>(call.options.steps));
  return ORTHO_OK;
}

ortho_status CheckedProblems(const PolarCall& call, const ortho_tensor* outputs,
                             std::vector<PolarProblem>* problems) {
  int limit = 0;
  if (ortho_status status = CheckServed(call)) return status;
  if (ortho_status status = cuda::PolynomialLimit(call.op(), call.inputs[0].device_id, &limit))
    return status;
  return Problems(call, outputs, limit, problems);
}

}  // namespace

ortho_status CudaPolarWorkspace(const PolarCall& call, size_t* bytes) {
  std::vector<PolarProblem> problems;
  if (ortho_status status = CheckedProblems(call, nullptr, &problems)) return status;
  *bytes = PlaceIterates(call, nullptr, &problems);
  return ORTHO_OK;
}

ortho_status CudaPolar(const PolarCall& call, const ortho_tensor* outputs, void* workspace,
                       size_t workspace_bytes, void* stream) {
  std::vector<PolarProblem> problems;
  if (ortho_status status = CheckedProblems(call, outputs, &problems)) return status;
  const size_t needed = PlaceIterates(call, static_cast<char*>(workspace), &problems);
  if (workspace_bytes < needed)
    return Fail(ORTHO_SMALL_WORKSPACE, "%s: workspace must have at least %zu bytes, got %zu",
                call.op(), needed, workspace_bytes);
  return cuda::PolynomialPolar(call.op(), call.options, call.inputs[0].device_id,
                               std::move(problems), stream);
}

}  // namespace ortho
