// dlpack_reader.h - reads any Python array that speaks DLPack as an ortho_tensor, without a copy.
//
// Two roads. A type that offers the C exchange API (torch >= 2.10) is asked through its table of
// functions: no capsule, no Python call. Every other is asked for a `__dlpack__` capsule, versioned
// if it knows those, so that read-only arrays can be read, and are refused as outputs.
//
// Everything here needs the GIL and throws pybind11's exceptions. DLPack has no word for torch's
// lazy conjugate and negative views: through the exchange API they are read as they are stored.
#pragma once

#include <pybind11/pybind11.h>

#include "doors/dlpack.h"
#include "ortho/ortho.h"

namespace ortho::door {

// An argument as its caller knows it: "x", or "tensors[3]" where index >= 0. The caller keeps the
// array alive until the call ends.
struct Argument {
  PyObject* array;
  const char* name;
  Py_ssize_t index = -1;
};

// Gives an exported tensor back to its producer when the call ends; empty for a borrowed one.
class Lease {
 public:
  Lease() = default;
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease();

  void Hold(dlpack::ManagedTensor* tensor) { unversioned_ = tensor; }
  void Hold(dlpack::ManagedTensorVersioned* tensor) { versioned_ = tensor; }

 private:
  dlpack::ManagedTensor* unversioned_ = nullptr;
  dlpack::ManagedTensorVersioned* versioned_ = nullptr;
};

// Reads `count` arguments of the op into `views`, valid while the arrays and the leases live.
// Returns the stream on which the arrays are ready: the current one of the first CUDA array that
// has an exchange API, else null, CUDA's default stream.
void* ReadArrays(const char* op, const Argument* arguments, size_t count, ortho_tensor* views,
                 Lease* leases);

}  // namespace ortho::door
