// The op sketch in the Python door.
#include <vector>

#include "doors/dlpack_reader.h"
#include "doors/python.h"

namespace py = pybind11;

namespace ortho::door {
namespace {

void Sketch(const py::sequence& tensors, uint64_t seed, py::handle out) {
  // A tuple of our own keeps every array alive, whatever another thread does to the list meanwhile.
  const py::tuple held(tensors);
  const size_t count = held.size();
  std::vector<Argument> arguments = {{out.ptr(), "out"}};
  for (size_t i = 0; i < count; ++i)
    arguments.push_back({held[i].ptr(), "tensors", static_cast<Py_ssize_t>(i)});
  std::vector<ortho_tensor> views(1 + count);
  std::vector<Lease> leases(1 + count);
  void* stream =
      ReadArrays("sketch", arguments.data(), arguments.size(), views.data(), leases.data());
  const ortho_tensor *vector = views.data(), *list = vector + 1;
  const auto n = static_cast<int64_t>(count);
  WithWorkspace(
      [&](void* workspace, size_t bytes) {
        return ortho_sketch(list, n, seed, vector, workspace, bytes, stream);
      },
      [&](size_t* bytes) { return ortho_sketch_workspace(list, n, vector->shape[0], bytes); });
}

}  // namespace

void DefineSketch(py::module_& module) {
  module.def("sketch", &Sketch, py::arg("tensors"), py::arg("seed"), py::arg("out"), py::pos_only(),
             "The count-sketch of the arrays, taken as one vector, into out (dim) float32.");
}

}  // namespace ortho::door
