// The op all_finite in the Python door.
#include <vector>

#include "doors/dlpack_reader.h"
#include "doors/python.h"

namespace py = pybind11;

namespace ortho::door {
namespace {

bool AllFinite(const py::sequence& tensors) {
  const py::tuple held(tensors);  // keeps every array alive, whatever becomes of the list
  const size_t count = held.size();
  std::vector<Argument> arguments;
  arguments.reserve(count);
  for (size_t i = 0; i < count; ++i)
    arguments.push_back({held[i].ptr(), "tensors", static_cast<Py_ssize_t>(i)});
  std::vector<ortho_tensor> views(count);
  std::vector<Lease> leases(count);
  ReadArrays("all_finite", arguments.data(), count, views.data(), leases.data());
  int32_t finite = 0;
  ortho_status status;
  {
    py::gil_scoped_release released;
    status = ortho_all_finite(views.data(), static_cast<int64_t>(count), &finite);
  }
  Raise(status);
  return finite != 0;
}

}  // namespace

void DefineAllFinite(py::module_& module) {
  module.def("all_finite", &AllFinite, py::arg("tensors"), py::pos_only(),
             "Whether no number of any of the arrays is NaN or Inf.");
}

}  // namespace ortho::door
