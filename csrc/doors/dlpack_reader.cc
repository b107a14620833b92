#include "doors/dlpack_reader.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace py = pybind11;

namespace ortho::door {
namespace {

using dlpack::ExchangeApi;

// Interned, so that look-ups compare pointers; made once and never freed.
py::object Interned(const char* word) {
  return py::reinterpret_steal<py::object>(PyUnicode_InternFromString(word));
}

struct Names {
  py::object dlpack = Interned("__dlpack__");
  py::object dlpack_device = Interned("__dlpack_device__");
  py::object exchange_api = Interned("__dlpack_c_exchange_api__");
  py::object version = py::make_tuple(dlpack::kMajorVersion, 0);
  py::object stream = py::make_tuple(Interned("stream"));
  py::object max_version = py::make_tuple(Interned("max_version"));
  py::object max_version_stream = py::make_tuple(Interned("max_version"), Interned("stream"));
};

const Names& Known() {
  static const Names* const names = new Names;
  return *names;
}

std::string Must(const char* op, const Argument& argument, const char* what) {
  std::string words = std::string(op) + ": " + argument.name;
  if (argument.index >= 0) words += "[" + std::to_string(argument.index) + "]";
  return words + " must " + what + ", got " + Py_TYPE(argument.array)->tp_name;
}

// The producer's exception becomes the cause of ours, which names the op and the argument. Only its
// first line is repeated: torch's messages carry a C++ backtrace. A BufferError is how DLPack says
// that the data cannot be described (an odd dtype, a foreign byte order), hence a TypeError here.
[[noreturn]] void ProducerFailed(const char* op, const Argument& argument) {
  py::error_already_set error;
  if (!error.matches(PyExc_Exception)) throw error;  // KeyboardInterrupt stays what it is
  if (!py::hasattr(py::type::handle_of(argument.array), Known().dlpack))
    throw py::type_error(Must(op, argument, "be an array with __dlpack__"));
  std::string said = py::str(error.value());
  said.resize(std::min(said.find('\n'), said.size()));
  const std::string words =
      Must(op, argument, "be an array that DLPack can describe") + " (" + said + ")";
  PyObject* type = error.matches(PyExc_BufferError) ? PyExc_TypeError : PyExc_RuntimeError;
  py::raise_from(error, type, words.c_str());
  throw py::error_already_set();
}

const ExchangeApi* FindExchangeApi(PyTypeObject* type) {
  constexpr const char* kName = "dlpack_exchange_api";
  const auto capsule = py::reinterpret_steal<py::object>(
      PyObject_GetAttr(reinterpret_cast<PyObject*>(type), Known().exchange_api.ptr()));
  if (!capsule) PyErr_Clear();
  if (!capsule || !PyCapsule_IsValid(capsule.ptr(), kName)) return nullptr;
  auto* header =
      static_cast<dlpack::ExchangeApiHeader*>(PyCapsule_GetPointer(capsule.ptr(), kName));
  while (header && header->version.major != dlpack::kMajorVersion) header = header->older;
  return reinterpret_cast<const ExchangeApi*>(header);
}

// The look-up, remembered per type. A slot holds a reference to its type, so that no other type can
// turn up at a remembered address; the few slots bound how many types that keeps alive.
const ExchangeApi* ExchangeApiOf(PyTypeObject* type) {
  struct Slot {
    PyTypeObject* type = nullptr;
    const ExchangeApi* api = nullptr;
  };
  static std::array<Slot, 16> slots;
  Slot& slot = slots[(reinterpret_cast<uintptr_t>(type) >> 5) % slots.size()];
  if (slot.type == type) return slot.api;
  const ExchangeApi* api = FindExchangeApi(type);
  Py_INCREF(type);
  PyTypeObject* forgotten = std::exchange(slot, Slot{type, api}).type;
  Py_XDECREF(reinterpret_cast<PyObject*>(forgotten));
  return api;
}

// Pinned and managed memory are what a kernel sees in them: host memory and CUDA memory.
ortho_tensor ViewOf(const dlpack::Tensor& tensor, uint64_t flags) {
  int32_t device = tensor.device.type;
  if (device == dlpack::kCudaHost) device = dlpack::kCpu;
  if (device == dlpack::kCudaManaged) device = dlpack::kCuda;
  return {static_cast<char*>(tensor.data) + tensor.byte_offset,
          tensor.shape,
          tensor.strides,
          tensor.ndim,
          {tensor.dtype.code, tensor.dtype.bits, tensor.dtype.lanes},
          device,
          device == dlpack::kCpu ? 0 : tensor.device.id,
          (flags & dlpack::kReadOnly) != 0};
}

ortho_tensor ReadVersioned(const char* op, const Argument& argument,
                           dlpack::ManagedTensorVersioned* managed, Lease* lease) {
  lease->Hold(managed);
  if (managed->version.major != dlpack::kMajorVersion)
    throw py::type_error(Must(op, argument, "be an array that speaks DLPack 1"));
  return ViewOf(managed->tensor, managed->flags);
}

ortho_tensor ReadByExchange(const char* op, const Argument& argument, const ExchangeApi& api,
                            Lease* lease) {
  if (api.borrow) {
    dlpack::Tensor tensor;
    if (api.borrow(argument.array, &tensor)) ProducerFailed(op, argument);
    return ViewOf(tensor, 0);
  }
  dlpack::ManagedTensorVersioned* managed = nullptr;
  if (api.export_managed(argument.array, &managed)) ProducerFailed(op, argument);
  return ReadVersioned(op, argument, managed, lease);
}

// array.__dlpack__(max_version=(1, 0)[, stream=stream]). Producers from before version 1 do not
// know the first keyword and answer with a TypeError.
py::object AskForCapsule(PyObject* array, PyObject* stream) {
  const Names& known = Known();
  PyObject* words[] = {array, known.version.ptr(), stream};
  PyObject* capsule = PyObject_VectorcallMethod(
      known.dlpack.ptr(), words, 1, (stream ? known.max_version_stream : known.max_version).ptr());
  if (!capsule && PyErr_ExceptionMatches(PyExc_TypeError)) {
    PyErr_Clear();
    PyObject* older_words[] = {array, stream};
    capsule = PyObject_VectorcallMethod(known.dlpack.ptr(), older_words, 1,
                                        stream ? known.stream.ptr() : nullptr);
  }
  return py::reinterpret_steal<py::object>(capsule);
}

// A producer makes its data ready on the stream that it is told, and on CUDA's default stream when
// it is told none. It is told only where both are on CUDA: NumPy refuses the keyword.
py::object StreamToTell(const Argument& argument, void* stream) {
  if (!stream) return {};
  const auto device = py::reinterpret_steal<py::object>(
      PyObject_CallMethodNoArgs(argument.array, Known().dlpack_device.ptr()));
  if (!device) PyErr_Clear();  // __dlpack__ will say what is wrong
  if (!device || device[py::int_(0)].cast<int>() != dlpack::kCuda) return {};
  return py::int_(reinterpret_cast<uintptr_t>(stream));
}

// The tensor in a capsule, or null if it is not of that name. Renamed, a capsule no longer frees
// what it holds: the lease does.
template <typename Managed>
Managed* Consume(const py::object& capsule, const char* name, const char* used_name) {
  if (!PyCapsule_IsValid(capsule.ptr(), name)) return nullptr;
  void* managed = PyCapsule_GetPointer(capsule.ptr(), name);
  PyCapsule_SetName(capsule.ptr(), used_name);
  return static_cast<Managed*>(managed);
}

ortho_tensor ReadByCapsule(const char* op, const Argument& argument, void* stream, Lease* lease) {
  const py::object capsule = AskForCapsule(argument.array, StreamToTell(argument, stream).ptr());
  if (!capsule) ProducerFailed(op, argument);
  if (auto* managed = Consume<dlpack::ManagedTensorVersioned>(capsule, "dltensor_versioned",
                                                              "used_dltensor_versioned"))
    return ReadVersioned(op, argument, managed, lease);
  if (auto* managed = Consume<dlpack::ManagedTensor>(capsule, "dltensor", "used_dltensor")) {
    lease->Hold(managed);
    return ViewOf(managed->tensor, 0);
  }
  throw py::type_error(Must(op, argument, "be an array whose __dlpack__ returns a fresh capsule"));
}

}  // namespace

Lease::~Lease() {
  if (unversioned_ && unversioned_->deleter) unversioned_->deleter(unversioned_);
  if (versioned_ && versioned_->deleter) versioned_->deleter(versioned_);
}

void* ReadArrays(const char* op, const Argument* arguments, size_t count, ortho_tensor* views,
                 Lease* leases) {
  void* stream = nullptr;
  size_t read = 0;
  for (size_t i = 0; i < count; ++i) {
    const ExchangeApi* api = ExchangeApiOf(Py_TYPE(arguments[i].array));
    if (!api) continue;
    views[i] = ReadByExchange(op, arguments[i], *api, &leases[i]);
    ++read;
    if (views[i].device_type == dlpack::kCuda && !stream &&
        api->current_stream(dlpack::kCuda, views[i].device_id, &stream))
      ProducerFailed(op, arguments[i]);
  }
  // Capsules come second: by now the stream is known on which their data has to be ready.
  for (size_t i = 0; i < count && read < count; ++i) {
    if (ExchangeApiOf(Py_TYPE(arguments[i].array))) continue;
    views[i] = ReadByCapsule(op, arguments[i], stream, &leases[i]);
    ++read;
  }
  return stream;
}

}  // namespace ortho::door
