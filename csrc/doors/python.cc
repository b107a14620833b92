// python.cc - the Python door: the module ortho_kernels._native. Arrays come in through DLPack, a
// status goes out as an exception with the library's own words. No maths; the GIL is free while a
// kernel runs.
#include "doors/python.h"

#include <cstdlib>
#include <new>
#include <stdexcept>

namespace py = pybind11;

namespace ortho::door {

void Raise(ortho_status status) {
  if (status == ORTHO_VALUE_ERROR) throw py::value_error(ortho_last_error());
  if (status == ORTHO_TYPE_ERROR) throw py::type_error(ortho_last_error());
  if (status != ORTHO_OK) throw std::runtime_error(ortho_last_error());
}

Workspace& Workspace::OfThisThread() {
  thread_local Workspace workspace;
  return workspace;
}

void Workspace::Grow(size_t needed) {
  if (needed <= bytes) return;
  std::free(data);  // before the next is allocated: never both at once
  bytes = 0;
  const size_t rounded = (needed + 63) / 64 * 64;
  data = std::aligned_alloc(64, rounded);
  if (!data) throw std::bad_alloc();
  bytes = rounded;
}

Workspace::~Workspace() { std::free(data); }

PYBIND11_MODULE(_native, module) {
  module.doc() = "The C ABI of ortho-kernels for arrays that speak DLPack.";
  DefineAllFinite(module);
  DefinePolar(module);
  DefineOrthogonalStep(module);
  DefineFrobeniusNorm(module);
  DefineSketch(module);
  DefineWindowStep(module);
  module.def("set_num_threads", [](int32_t n) { Raise(ortho_set_num_threads(n)); }, py::arg("n"));
  module.def("get_num_threads", &ortho_get_num_threads);
  module.def("isa", [] {
    const char* name = ortho_isa();
    if (!name) throw std::runtime_error(ortho_last_error());
    return name;
  });
  module.def("cuda_archs", &ortho_cuda_archs);
  module.def("version", &ortho_version);
}

}  // namespace ortho::door
