// The op window_step_ in the Python door.
#include <vector>

#include "doors/dlpack_reader.h"
#include "doors/python.h"

namespace py = pybind11;

namespace ortho::door {
namespace {

constexpr const char* kOp = "window_step_";

void Step(py::handle rows, py::handle gram, py::handle coefficients, const py::sequence& gradients,
          int64_t slot, int64_t filled, double sigma, py::handle out) {
  // A tuple of our own keeps every array alive, whatever another thread does to the list meanwhile.
  const py::tuple held(gradients);
  std::vector<Argument> arguments = {{rows.ptr(), "window"},
                                     {gram.ptr(), "gram"},
                                     {coefficients.ptr(), "coefficients"},
                                     {out.ptr(), "out"}};
  const size_t first = arguments.size(), count = held.size();
  for (size_t i = 0; i < count; ++i)
    arguments.push_back({held[i].ptr(), "gradients", static_cast<Py_ssize_t>(i)});
  std::vector<ortho_tensor> views(arguments.size());
  std::vector<Lease> leases(arguments.size());
  void* stream = ReadArrays(kOp, arguments.data(), arguments.size(), views.data(), leases.data());
  const ortho_window window = {views[0], views[1], views[2]};
  WithWorkspace(
      [&](void* workspace, size_t bytes) {
        return ortho_window_step_(&window, views.data() + first, static_cast<int64_t>(count), slot,
                                  filled, sigma, &views[3], workspace, bytes, stream);
      },
      [&](size_t* bytes) { return ortho_window_step_workspace(&window, bytes); });
}

}  // namespace

void DefineWindowStep(py::module_& module) {
  module.def(kOp, &Step, py::arg("window"), py::arg("gram"), py::arg("coefficients"),
             py::arg("gradients"), py::arg("slot"), py::arg("filled"), py::arg("sigma"),
             py::arg("out"), py::pos_only(),
             "One step of power iteration on the window of gradients; out: eigenvalue, cosine.");
}

}  // namespace ortho::door
