// The op orthogonal_step_ in the Python door: one optimiser step on a whole model in one call.
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "doors/dlpack_reader.h"
#include "doors/python_polar.h"

namespace py = pybind11;

namespace ortho::door {
namespace {

constexpr const char* kOp = "orthogonal_step_";

void CheckLength(const char* name, size_t got, size_t needed) {
  if (got != needed)
    throw py::value_error(std::string(kOp) + ": " + name + " must have length " +
                          std::to_string(needed) + " like weights, got " + std::to_string(got));
}

void Step(const PolarOptions& polar, const py::sequence& weights, const py::sequence& gradients,
          const py::sequence& momenta, const std::vector<int64_t>& row_blocks,
          const std::vector<double>& scales, const std::vector<bool>& fresh,
          const std::string& placement, double lr, double momentum, double dampening,
          double weight_decay, bool average, bool nesterov, bool maximize, bool decoupled) {
  ortho_step_options options = ORTHO_STEP_OPTIONS_DEFAULT;
  options.polar = polar;
  options.placement = Choose(kOp, "placement", placement, {"gradient", "update"});
  options.average = average;
  options.nesterov = nesterov;
  options.maximize = maximize;
  options.decoupled = decoupled;
  options.lr = lr;
  options.momentum = momentum;
  options.dampening = dampening;
  options.weight_decay = weight_decay;

  // Tuples of our own keep every array alive, whatever another thread does to the lists meanwhile.
  const py::tuple held[] = {py::tuple(weights), py::tuple(gradients), py::tuple(momenta)};
  const char* const names[] = {"weights", "gradients", "momenta"};
  const size_t count = held[0].size(), lists = held[2].empty() ? 2 : 3;
  for (size_t list = 1; list < lists; ++list) CheckLength(names[list], held[list].size(), count);
  CheckLength("row_blocks", row_blocks.size(), count);
  CheckLength("scales", scales.size(), count);
  CheckLength("fresh", fresh.size(), count);
  std::vector<Argument> arguments;
  arguments.reserve(lists * count);
  for (size_t list = 0; list < lists; ++list)
    for (size_t i = 0; i < count; ++i)
      arguments.push_back({held[list][i].ptr(), names[list], static_cast<Py_ssize_t>(i)});
  std::vector<ortho_tensor> views(arguments.size());
  std::vector<Lease> leases(arguments.size());
  void* stream = ReadArrays(kOp, arguments.data(), arguments.size(), views.data(), leases.data());

  const ortho_tensor *w = views.data(), *g = w + count, *v = lists == 3 ? g + count : nullptr;
  const std::vector<uint8_t> flags(fresh.begin(), fresh.end());
  const auto n = static_cast<int64_t>(count);
  WithWorkspace(
      [&](void* workspace, size_t bytes) {
        return ortho_orthogonal_step_(&options, w, g, v, row_blocks.data(), scales.data(),
                                      flags.data(), n, workspace, bytes, stream);
      },
      [&](size_t* bytes) {
        return ortho_orthogonal_step_workspace(&options, g, row_blocks.data(), n, bytes);
      });
}

}  // namespace

void DefineOrthogonalStep(py::module_& module) {
  module.def(kOp, &Step, py::arg("options"), py::arg("weights"), py::arg("gradients"),
             py::arg("momenta"), py::arg("row_blocks"), py::arg("scales"), py::arg("fresh"),
             py::kw_only(), py::arg("placement"), py::arg("lr"), py::arg("momentum"),
             py::arg("dampening"), py::arg("weight_decay"), py::arg("average"), py::arg("nesterov"),
             py::arg("maximize"), py::arg("decoupled"),
             "One optimiser step on weights and momenta (an empty list: none), in place.");
}

}  // namespace ortho::door
