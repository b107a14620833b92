// Op polar above the kernels: checks in words, workspace, and which device's kernels serve.
#include "cpu/polar.h"

#include <cmath>
#include <exception>

#include "core/matrix.h"
#include "core/status.h"
#include "core/words.h"
#include "cpu/isa.h"

namespace ortho {
namespace {

// One call, two faces: `polar` of one tensor, `polar_foreach` of a list. They differ in the words
// only.
struct Call {
  const ortho_polar_options& options;
  const ortho_tensor* inputs;
  const int64_t* row_blocks;
  int64_t count;

  bool many() const { return row_blocks != nullptr || count != 1; }
  const char* op() const { return many() ? "polar_foreach" : "polar"; }
  std::string InputName(int64_t i) const {
    return many() ? ArgumentName("tensors", true, i) : std::string("x");
  }
  int64_t RowBlocks(int64_t i) const {
    return row_blocks ? row_blocks[i] : int64_t{ORTHO_VIEW_BATCH};
  }
};

ortho_status CheckOptions(const Call& call) {
  const ortho_polar_options& options = call.options;
  const char* op = call.op();
  if (options.method == ORTHO_POLAR_EXACT) {
    if (options.rank != ORTHO_RANK_TRUNCATE && options.rank != ORTHO_RANK_COMPLETE)
      return Fail(ORTHO_VALUE_ERROR, "%s: rank must be 0 (truncate) or 1 (complete), got %d", op,
                  options.rank);
    return ORTHO_OK;
  }
  if (options.method == ORTHO_POLAR_NEWTON) return ORTHO_OK;
  if (options.method != ORTHO_POLAR_POLYNOMIAL)
    return Fail(ORTHO_VALUE_ERROR,
                "%s: method must be 0 (exact), 1 (polynomial) or 2 (newton), got %d", op,
                options.method);
  if (options.precision < ORTHO_PRECISION_FLOAT32 || options.precision > ORTHO_PRECISION_BFLOAT16)
    return Fail(ORTHO_VALUE_ERROR,
                "%s: precision must be 0 (float32), 1 (float16) or 2 (bfloat16), got %d", op,
                options.precision);
  if (options.steps < 1)
    return Fail(ORTHO_VALUE_ERROR, "%s: steps must be >= 1, got %lld", op,
                static_cast<long long>(options.steps));
  if (options.coefficients == nullptr)
    return Fail(ORTHO_VALUE_ERROR, "%s: coefficients must be given, got a null pointer", op);
  for (int64_t i = 0; i < 3 * options.steps; ++i)
    if (!std::isfinite(options.coefficients[i]))
      return Fail(ORTHO_VALUE_ERROR, "%s: coefficients must be finite, got %g", op,
                  options.coefficients[i]);
  return ORTHO_OK;
}

ortho_status CheckInput(const Call& call, int64_t i) {
  const ortho_tensor& x = call.inputs[i];
  const char* op = call.op();
  if (ortho_status status = CheckTensor(op, call.InputName(i), x)) return status;
  const int64_t blocks = call.RowBlocks(i);
  if (blocks < 0)
    return Fail(ORTHO_VALUE_ERROR, "%s: row_blocks[%lld] must be >= 0, got %lld", op,
                static_cast<long long>(i), static_cast<long long>(blocks));
  if (blocks > 1 && x.shape[0] % blocks != 0)
    return Fail(ORTHO_VALUE_ERROR,
                "%s: %s must have a first dimension divisible by %lld row blocks, got shape %s", op,
                call.InputName(i).c_str(), static_cast<long long>(blocks), ShapeText(x).c_str());
  if (x.device_type != ORTHO_DEVICE_CPU)
    return Fail(ORTHO_RUNTIME_ERROR, "%s: %s must be on cpu for the native kernels, got %s", op,
                call.InputName(i).c_str(), DeviceName(x).c_str());
  return ORTHO_OK;
}

// No output may touch another tensor of the call. The lists are long only for whole models, whose
// extents sort in microseconds.
ortho_status CheckDisjoint(const Call& call, const ortho_tensor* outputs) {
  struct Entry {
    Extent extent;
    int64_t i;
    bool output;
  };
  std::vector<Entry> entries;
  entries.reserve(static_cast<size_t>(2 * call.count));
  for (int64_t i = 0; i < call.count; ++i) {
    const Extent in = TouchedBytes(call.inputs[i]), out = TouchedBytes(outputs[i]);
    if (out.begin == out.end) continue;
    entries.push_back({out, i, true});
    // An input that is its own output is that output.
    if (in.begin != out.begin || in.end != out.end) entries.push_back({in, i, false});
  }
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.extent.begin < b.extent.begin; });
  const Entry *last = nullptr, *last_output = nullptr;  // those that reach furthest so far
  for (const Entry& entry : entries) {
    const Entry* other = entry.output ? last : last_output;
    if (other && other->extent.end > entry.extent.begin) {
      const Entry& out = entry.output ? entry : *other;
      const Entry& with = entry.output ? *other : entry;
      return Fail(ORTHO_VALUE_ERROR, "%s: out[%lld] must not overlap %s", call.op(),
                  static_cast<long long>(out.i),
                  ArgumentName(with.output ? "out" : "tensors", true, with.i).c_str());
    }
    if (!last || entry.extent.end > last->extent.end) last = &entry;
    if (entry.output && (!last_output || entry.extent.end > last_output->extent.end))
      last_output = &entry;
  }
  return ORTHO_OK;
}

ortho_status Kernels(const Call& call, const cpu::KernelTable** table) {
  const char* reason = nullptr;
  *table = cpu::ActiveKernels(&reason);
  if (*table == nullptr) return Fail(ORTHO_RUNTIME_ERROR, "%s: %s", call.op(), reason);
  return ORTHO_OK;
}

// Inputs and outputs as pairs of matrices; without outputs, an input stands for its own.
std::vector<cpu::PolarPair> Pairs(const Call& call, const ortho_tensor* outputs) {
  std::vector<cpu::PolarPair> pairs;
  pairs.reserve(static_cast<size_t>(call.count));
  for (int64_t i = 0; i < call.count; ++i) {
    size_t next = pairs.size();
    VisitMatrices(call.inputs[i], call.RowBlocks(i), [&](const Matrix& x) {
      pairs.emplace_back();
      pairs.back().x = x;
      if (!outputs) pairs.back().out = x;
    });
    if (outputs)
      VisitMatrices(outputs[i], call.RowBlocks(i),
                    [&](const Matrix& out) { pairs[next++].out = out; });
  }
  return pairs;
}

ortho_status CheckCall(const Call& call) {
  if (call.count < 0 || (call.count > 0 && call.inputs == nullptr))
    return Fail(ORTHO_VALUE_ERROR, "%s: tensors must be a list, got %lld at %p", call.op(),
                static_cast<long long>(call.count), static_cast<const void*>(call.inputs));
  if (ortho_status status = CheckOptions(call)) return status;
  for (int64_t i = 0; i < call.count; ++i)
    if (ortho_status status = CheckInput(call, i)) return status;
  return ORTHO_OK;
}

ortho_status Polar(const Call& call, const ortho_tensor* outputs, void* workspace,
                   size_t workspace_bytes) {
  if (ortho_status status = CheckCall(call)) return status;
  if (call.count > 0 && outputs == nullptr)
    return Fail(ORTHO_VALUE_ERROR, "%s: out must be given, got a null pointer", call.op());
  for (int64_t i = 0; i < call.count; ++i)
    if (ortho_status status = CheckOutput(call.op(), ArgumentName("out", call.many(), i),
                                          call.InputName(i), outputs[i], call.inputs[i]))
      return status;
  if (call.count > 1)
    if (ortho_status status = CheckDisjoint(call, outputs)) return status;
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
ortho_status Guarded(const Call& call, const Body& body) {
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
  const ortho::Call call{*options, inputs, row_blocks, count};
  return ortho::Guarded(call, [&]() -> ortho_status {
    if (ortho_status status = ortho::CheckCall(call)) return status;
    const ortho::cpu::KernelTable* table;
    if (ortho_status status = ortho::Kernels(call, &table)) return status;
    *bytes = ortho::cpu::PolarWorkspace(*table, call.options, ortho::Pairs(call, nullptr));
    return ORTHO_OK;
  });
}

extern "C" ortho_status ortho_polar(const ortho_polar_options* options, const ortho_tensor* inputs,
                                    const ortho_tensor* outputs, const int64_t* row_blocks,
                                    int64_t count, void* workspace, size_t workspace_bytes,
                                    void* /*stream*/) {
  const ortho::Call call{*options, inputs, row_blocks, count};
  return ortho::Guarded(call,
                        [&] { return ortho::Polar(call, outputs, workspace, workspace_bytes); });
}
