// python.cc - the Python door: the module ortho_kernels._native. Arrays come in through DLPack, a
// status goes out as an exception with the library's own words. No maths; the GIL is free while a
// kernel runs.
#include "doors/python.h"

#include <cstdlib>
#include <memory>
#include <new>
#include <stdexcept>

namespace py = pybind11;

namespace ortho::door {

void Raise(ortho_status status) {
  if (status == ORTHO_VALUE_ERROR) throw py::value_error(ortho_last_error());
  if (status == ORTHO_TYPE_ERROR) throw py::type_error(ortho_last_error());
  if (status != ORTHO_OK) throw std::runtime_error(ortho_last_error());
}

void* Workspace(size_t bytes) {
  thread_local std::unique_ptr<void, decltype(&std::free)> memory(nullptr, &std::free);
  thread_local size_t size = 0;
  if (bytes > size) {
    size = 0;
    memory.reset();  // before the next is allocated: never both at once
    const size_t rounded = (bytes + 63) / 64 * 64;
    memory.reset(std::aligned_alloc(64, rounded));
    if (!memory) throw std::bad_alloc();
    size = rounded;
  }
  return memory.get();
}

PYBIND11_MODULE(_native, module) {
  module.doc() = "The C ABI of ortho-kernels for arrays that speak DLPack.";
  DefinePolar(module);
  DefineFrobeniusNorm(module);
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
