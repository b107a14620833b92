// Op orthogonal_step_ above the kernels: checks in words, workspace, and which device's kernels
// serve.
#include "cpu/orthogonal_step_.h"

#include <cmath>
#include <exception>

#include "core/lists.h"
#include "core/status.h"
#include "core/words.h"
#include "cpu/isa.h"

namespace ortho {
namespace {

constexpr const char* kOp = "orthogonal_step_";

struct Call {
  const ortho_step_options& options;
  const ortho_tensor* weights;
  const ortho_tensor* gradients;
  const ortho_tensor* momenta;
  const int64_t* row_blocks;
  const double* scales;
  const uint8_t* fresh;
  int64_t count;

  int64_t RowBlocks(int64_t i) const {
    return row_blocks ? row_blocks[i] : int64_t{ORTHO_VIEW_BATCH};
  }
};

ortho_status CheckFinite(const char* name, double value) {
  if (std::isfinite(value)) return ORTHO_OK;
  return Fail(ORTHO_VALUE_ERROR, "%s: %s must be finite, got %g", kOp, name, value);
}

ortho_status CheckOptions(const ortho_step_options& options) {
  if (ortho_status status = CheckPolarOptions(kOp, options.polar)) return status;
  if (options.placement != ORTHO_STEP_GRADIENT && options.placement != ORTHO_STEP_UPDATE)
    return Fail(ORTHO_VALUE_ERROR, "%s: placement must be 0 (gradient) or 1 (update), got %d", kOp,
                options.placement);
  if (ortho_status status = CheckFinite("lr", options.lr)) return status;
  if (ortho_status status = CheckFinite("momentum", options.momentum)) return status;
  if (ortho_status status = CheckFinite("dampening", options.dampening)) return status;
  return CheckFinite("weight_decay", options.weight_decay);
}

ortho_status CheckGradients(const Call& call) {
  if (call.count < 0 || (call.count > 0 && call.gradients == nullptr))
    return Fail(ORTHO_VALUE_ERROR, "%s: gradients must be a list, got %lld at %p", kOp,
                static_cast<long long>(call.count), static_cast<const void*>(call.gradients));
  if (ortho_status status = CheckOptions(call.options)) return status;
  for (int64_t i = 0; i < call.count; ++i)
    if (ortho_status status = CheckInput(kOp, ArgumentName("gradients", true, i), call.gradients[i],
                                         i, call.RowBlocks(i)))
      return status;
  return ORTHO_OK;
}

// weights[i] or momenta[i], beside its gradient.
ortho_status CheckWritten(const char* list, const ortho_tensor& x, const Call& call, int64_t i) {
  const std::string name = ArgumentName(list, true, i);
  const ortho_tensor& gradient = call.gradients[i];
  if (ortho_status status = CheckOutput(kOp, name, ArgumentName("gradients", true, i), x, gradient))
    return status;
  return CheckTensor(kOp, name, x);  // for its pointer
}

ortho_status CheckCall(const Call& call) {
  if (ortho_status status = CheckGradients(call)) return status;
  if (call.count > 0 && call.weights == nullptr)
    return Fail(ORTHO_VALUE_ERROR, "%s: weights must be given, got a null pointer", kOp);
  std::vector<ListEntry> entries;
  entries.reserve(static_cast<size_t>(3 * call.count));
  for (int64_t i = 0; i < call.count; ++i) {
    if (ortho_status status = CheckWritten("weights", call.weights[i], call, i)) return status;
    entries.push_back({TouchedBytes(call.weights[i]), "weights", i, true});
    entries.push_back({TouchedBytes(call.gradients[i]), "gradients", i, false});
    if (call.momenta) {
      if (ortho_status status = CheckWritten("momenta", call.momenta[i], call, i)) return status;
      entries.push_back({TouchedBytes(call.momenta[i]), "momenta", i, true});
    }
    if (call.scales && !std::isfinite(call.scales[i]))
      return Fail(ORTHO_VALUE_ERROR, "%s: scales[%lld] must be finite, got %g", kOp,
                  static_cast<long long>(i), call.scales[i]);
  }
  return CheckDisjoint(kOp, std::move(entries));
}

ortho_status Kernels(const cpu::KernelTable** table) {
  const char* reason = nullptr;
  *table = cpu::ActiveKernels(&reason);
  return *table ? ORTHO_OK : Fail(ORTHO_RUNTIME_ERROR, "%s: %s", kOp, reason);
}

// The matrices of the gradients, with those of weights and momenta where there are any.
std::vector<cpu::StepTask> Tasks(const Call& call) {
  std::vector<cpu::StepTask> tasks;
  for (int64_t i = 0; i < call.count; ++i) {
    const auto matrices = [&](const ortho_tensor* list) {
      return list ? Matrices(list[i], call.RowBlocks(i)) : Matrices();
    };
    const Matrices gs = matrices(call.gradients), ws = matrices(call.weights),
                   vs = matrices(call.momenta);
    for (int64_t j = 0; j < gs.count(); ++j)
      tasks.push_back(
          {ws[j], gs[j], vs[j], call.scales ? call.scales[i] : 1, call.fresh && call.fresh[i]});
  }
  return tasks;
}

ortho_status Step(const Call& call, void* workspace, size_t workspace_bytes) {
  if (ortho_status status = CheckCall(call)) return status;
  const cpu::KernelTable* table;
  if (ortho_status status = Kernels(&table)) return status;
  const std::vector<cpu::StepTask> tasks = Tasks(call);
  if (!cpu::StepAll(*table, call.options, tasks, workspace, workspace_bytes))
    return Fail(ORTHO_SMALL_WORKSPACE, "%s: workspace must have at least %zu bytes, got %zu", kOp,
                cpu::StepWorkspace(*table, call.options, tasks), workspace_bytes);
  return ORTHO_OK;
}

ortho_status Workspace(const Call& call, size_t* bytes) {
  if (ortho_status status = CheckGradients(call)) return status;
  const cpu::KernelTable* table;
  if (ortho_status status = Kernels(&table)) return status;
  *bytes = cpu::StepWorkspace(*table, call.options, Tasks(call));
  return ORTHO_OK;
}

}  // namespace
}  // namespace ortho

// Nothing throws through the ABI: what can still be thrown below is the want of memory or threads.
extern "C" ortho_status ortho_orthogonal_step_workspace(const ortho_step_options* options,
                                                        const ortho_tensor* gradients,
                                                        const int64_t* row_blocks, int64_t count,
                                                        size_t* bytes) try {
  return ortho::Workspace(
      {*options, nullptr, gradients, nullptr, row_blocks, nullptr, nullptr, count}, bytes);
} catch (const std::exception& error) {
  return ortho::Fail(ORTHO_RUNTIME_ERROR, "%s: %s", ortho::kOp, error.what());
}

extern "C" ortho_status ortho_orthogonal_step_(const ortho_step_options* options,
                                               const ortho_tensor* weights,
                                               const ortho_tensor* gradients,
                                               const ortho_tensor* momenta,
                                               const int64_t* row_blocks, const double* scales,
                                               const uint8_t* fresh, int64_t count, void* workspace,
                                               size_t workspace_bytes, void* /*stream*/) try {
  return ortho::Step({*options, weights, gradients, momenta, row_blocks, scales, fresh, count},
                     workspace, workspace_bytes);
} catch (const std::exception& error) {
  return ortho::Fail(ORTHO_RUNTIME_ERROR, "%s: %s", ortho::kOp, error.what());
}
