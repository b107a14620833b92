// python.h - what the ops of the Python door share. Each op is in python_<op>.cc, and adds itself
// to the module in Define<Op>.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>

#include "ortho/ortho.h"

namespace ortho::door {

// A status as a Python exception, with the words of ortho_last_error().
void Raise(ortho_status status);

// This thread's scratch memory, aligned to 64 and kept until the thread ends. It only grows, so
// that steady calls neither ask how much they need nor allocate.
struct Workspace {
  void* data = nullptr;
  size_t bytes = 0;

  static Workspace& OfThisThread();
  void Grow(size_t needed);
  ~Workspace();
};

// Runs call(workspace, bytes) -> status without the GIL, on more memory by ask(&bytes) -> status
// where what this thread has is too little; raises what they say.
template <typename Call, typename Ask>
void WithWorkspace(const Call& call, const Ask& ask) {
  Workspace& workspace = Workspace::OfThisThread();
  for (bool asked = false;; asked = true) {
    ortho_status status;
    {
      pybind11::gil_scoped_release released;
      status = call(workspace.data, workspace.bytes);
    }
    if (status != ORTHO_SMALL_WORKSPACE || asked) return Raise(status);
    size_t bytes = 0;
    Raise(ask(&bytes));
    workspace.Grow(bytes);
  }
}

void DefineAllFinite(pybind11::module_& module);
void DefinePolar(pybind11::module_& module);
void DefineOrthogonalStep(pybind11::module_& module);
void DefineFrobeniusNorm(pybind11::module_& module);
void DefineSketch(pybind11::module_& module);
void DefineWindowStep(pybind11::module_& module);

}  // namespace ortho::door
