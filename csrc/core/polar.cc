// Op polar above the kernels: checks in words, workspace, and which device's kernels serve.
#include "cpu/polar.h"

#include <exception>

#include "core/lists.h"
#include "core/matrix.h"
#include "core/polar_call.h"
#include "core/status.h"
#include "core/words.h"
#include "cpu/isa.h"
#if defined(ORTHO_WITH_CUDA)
#include "core/polar_cuda.h"
#endif

namespace ortho {
namespace {

// No output may touch another tensor of the call.
ortho_status CheckDisjoint(const PolarCall& call, const ortho_tensor* outputs) {
  std::vector<ListEntry> entries;
  entries.reserve(static_cast<size_t>(2 * call.count));
  for (int64_t i = 0; i < call.count; ++i) {
    const Extent in = TouchedBytes(call.inputs[i]), out = TouchedBytes(outputs[i]);
    entries.push_back({out, "out", i, true});
    // An input that is its own output is that output.
    if (in.begin != out.begin || in.end != out.end) entries.push_back({in, "tensors", i, false});
  }
  return ortho::CheckDisjoint(call.op(), std::move(entries));
}

ortho_status Kernels(const PolarCall& call, const cpu::KernelTable** table) {
  const char* reason = nullptr;
  *table = cpu::ActiveKernels(&reason);
  if (*table == nullptr) return Fail(ORTHO_RUNTIME_ERROR, "%s: %s", call.op(), reason);
  return ORTHO_OK;
}

// Inputs and outputs as pairs of matrices; without outputs, an input stands for its own.
std::vector<cpu::PolarPair> Pairs(const PolarCall& call, const ortho_tensor* outputs) {
  std::vector<cpu::PolarPair> pairs;
  pairs.reserve(static_cast<size_t>(call.count));
  for (int64_t i = 0; i < call.count; ++i) {
    const Matrices xs(call.inputs[i], call.RowBlocks(i));
    const Matrices outs(outputs ? outputs[i] : call.inputs[i], call.RowBlocks(i));
    for (int64_t j = 0; j < xs.count(); ++j) pairs.push_back({xs[j], outs[j]});
  }
  return pairs;
}

ortho_status CheckCall(const PolarCall& call) {
  if (call.count < 0 || (call.count > 0 && call.inputs == nullptr))
    return Fail(ORTHO_VALUE_ERROR, "%s: tensors must be a list, got %lld at %p", call.op(),
                static_cast<long long>(call.count), static_cast<const void*>(call.inputs));
  if (ortho_status status = CheckPolarOptions(call.op(), call.options)) return status;
  for (int64_t i = 0; i < call.count; ++i)
    if (ortho_status status =
            CheckInput(call.op(), call.InputName(i), call.inputs[i], i, call.RowBlocks(i), true))
      return status;
  for (int64_t i = 1; i < call.count; ++i)
    if (call.inputs[i].device_type != call.inputs[0].device_type ||
        call.inputs[i].device_id != call.inputs[0].device_id)
      return Fail(ORTHO_VALUE_ERROR, "%s: %s must be on %s like %s, got %s", call.op(),
                  call.InputName(i).Text().c_str(), DeviceName(call.inputs[0]).c_str(),
                  call.InputName(0).Text().c_str(), DeviceName(call.inputs[i]).c_str());
  return ORTHO_OK;
}

#if defined(ORTHO_WITH_CUDA)
bool OnCuda(const PolarCall& call) {
  return call.count > 0 && call.inputs[0].device_type == ORTHO_DEVICE_CUDA;
}
#endif

ortho_status Polar(const PolarCall& call, const ortho_tensor* outputs, void* workspace,
                   size_t workspace_bytes, [[maybe_unused]] void* stream) {
  if (ortho_status status = CheckCall(call)) return status;
  if (call.count > 0 && outputs == nullptr)
    return Fail(ORTHO_VALUE_ERROR, "%s: out must be given, got a null pointer", call.op());
  for (int64_t i = 0; i < call.count; ++i)
    if (ortho_status status = CheckOutput(call.op(), call.OutputName(i), call.InputName(i),
                                          outputs[i], call.inputs[i]))
      return status;
  if (call.count > 1)
    if (ortho_status status = CheckDisjoint(call, outputs)) return status;
#if defined(ORTHO_WITH_CUDA)
  if (OnCuda(call)) return CudaPolar(call, outputs, workspace, workspace_bytes, stream);
#endif
  const cpu::KernelTable* table;
  if (ortho_status status = Kernels(call, &table)) return status;
  const std::vector<cpu::PolarPair> pairs = Pairs(call, outputs);
  if (!cpu::PolarAll(*table, call.options, pairs, workspace, workspace_bytes))
    return Fail(ORTHO_SMALL_WORKSPACE, "%s: workspace must have at least %zu bytes, got %zu",
                call.op(), cpu::PolarWorkspace(*table, call.options, pairs), workspace_bytes);
  return ORTHO_OK;
}

// Nothing throws through the ABI: what can still be thrown below is the want of memory or threads.
template <typename Body>
ortho_status Guarded(const PolarCall& call, const Body& body) {
  try {
    return body();
  } catch (const std::exception& error) {
    return Fail(ORTHO_RUNTIME_ERROR, "%s: %s", call.op(), error.what());
  }
}

}  // namespace
}  // namespace ortho

extern "C" ortho_status ortho_polar_workspace(const ortho_polar_options* options,
                                              const ortho_tensor* inputs, const int64_t* row_blocks,
                                              int64_t count, size_t* bytes) {
  const ortho::PolarCall call{*options, inputs, row_blocks, count};
  return ortho::Guarded(call, [&]() -> ortho_status {
    if (ortho_status status = ortho::CheckCall(call)) return status;
#if defined(ORTHO_WITH_CUDA)
    if (ortho::OnCuda(call)) return ortho::CudaPolarWorkspace(call, bytes);
#endif
    const ortho::cpu::KernelTable* table;
    if (ortho_status status = ortho::Kernels(call, &table)) return status;
    *bytes = ortho::cpu::PolarWorkspace(*table, call.options, ortho::Pairs(call, nullptr));
    return ORTHO_OK;
  });
}

extern "C" ortho_status ortho_polar(const ortho_polar_options* options, const ortho_tensor* inputs,
                                    const ortho_tensor* outputs, const int64_t* row_blocks,
                                    int64_t count, void* workspace, size_t workspace_bytes,
                                    void* stream) {
  const ortho::PolarCall call{*options, inputs, row_blocks, count};
  return ortho::Guarded(
      call, [&] { return ortho::Polar(call, outputs, workspace, workspace_bytes, stream); });
}
