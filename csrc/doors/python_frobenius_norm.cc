// The op frobenius_norm in the Python door.
#include "doors/dlpack_reader.h"
#include "doors/python.h"

namespace py = pybind11;

namespace ortho::door {
namespace {

void FrobeniusNorm(py::handle x, py::handle out) {
  const Argument arguments[] = {{x.ptr(), "x"}, {out.ptr(), "out"}};
  ortho_tensor views[2];
  Lease leases[2];
  void* stream = ReadArrays("frobenius_norm", arguments, 2, views, leases);
  ortho_status status;
  {
    py::gil_scoped_release released;
    status = ortho_frobenius_norm(&views[0], &views[1], stream);
  }
  Raise(status);
}

}  // namespace

void DefineFrobeniusNorm(py::module_& module) {
  module.def("frobenius_norm", &FrobeniusNorm, py::arg("x"), py::arg("out"), py::pos_only(),
             "The Frobenius norm of every matrix of x (..., m, n) into out (...), float64.");
}

}  // namespace ortho::door
